"""Estimate by arithmetic what a run will need: model sizes, memory, hours, and placement on GPUs."""
