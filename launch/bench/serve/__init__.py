"""Measures of the reward service: see `__main__`."""
