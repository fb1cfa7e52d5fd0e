"""What a run takes before it starts, by arithmetic: sizes of models, memory, hours, who shares which GPU."""
