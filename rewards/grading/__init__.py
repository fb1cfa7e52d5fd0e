"""Grading final answers: where a response says its answer, what the answer is, and whether two answers are equal."""
