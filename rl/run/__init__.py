"""A run's folder, its checkpoints and origin, and how it stops and resumes."""
