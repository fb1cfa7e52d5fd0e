"""What a run keeps: its folder, its checkpoints, where it came from, and how it stops and resumes."""
