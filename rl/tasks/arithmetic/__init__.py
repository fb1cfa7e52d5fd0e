"""A small world of word problems in which every step can be verified, with models trained for it."""

from rl.tasks.arithmetic.task import ArithmeticTask

__all__ = ["ArithmeticTask"]
