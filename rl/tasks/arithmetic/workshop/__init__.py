"""Trains and measures the arithmetic world's models. The task itself needs none of this."""
