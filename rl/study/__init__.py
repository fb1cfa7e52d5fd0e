"""Comparing runs: which are alike, what their figures say, which samples to look at. `launch.report` shows it."""
