from __future__ import annotations

import os
import signal
import threading

import pytest

from rewards.grading.comparison import Undecided
from rewards.symbolic import SymbolicComparer, UnreadableError


@pytest.fixture(scope="module")
def comparer():
    comparer = SymbolicComparer()
    yield comparer
    comparer.close()


def test_it_works_outside_the_main_thread(comparer):
    found = []
    threads = [threading.Thread(target=lambda n=n: found.append(comparer.compare("x/2", f"0.5x+{n}"))) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["different", "same"]


def test_a_dead_child_is_undecided_and_the_next_question_starts_another(comparer):
    assert comparer.compare("x/2", r"\frac{x}{2}") == "same"
    os.kill(comparer._child.pid, signal.SIGKILL)
    with pytest.raises(Undecided):
        comparer.compare("x/3", r"\frac{x}{3}")
    assert comparer.compare("x/3", r"\frac{x}{3}") == "same"


def test_text_with_line_breaks_is_one_question(comparer):
    with pytest.raises(UnreadableError):
        comparer.compare('1\n"2"\n', "x{\n")
    assert comparer.compare("x+1", "1+x") == "same"


def test_a_formula_that_nobody_can_read_is_named(comparer):
    with pytest.raises(UnreadableError, match=r"cannot read \\frac\{x\}\{y"):
        comparer.compare(r"\frac{x}{y", "x")


def test_an_endless_computation_ends_in_time():
    comparer = SymbolicComparer(1.0)
    with pytest.raises(Undecided, match="could not be compared within 1 s"):
        comparer.compare("9^{9^{9^{9}}}", "12")
    comparer.close()


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (r"2^{-98}\pi", r"2^{-99}\pi", "different"),
        (r"\sqrt{2}", "1.41421356237", "alike"),
        (r"\sqrt{2}", "1.4142", "different"),
        (r"\sqrt{10^{40}+1}", "10^{20}", "different"),
        ("R-r", "r-R", "different"),
        (r"2^{-98}x", r"2^{-99}x", "different"),
        ("2x+y=3", "4x+2y=6", "same"),
        ("i^2", "-1", "same"),
    ],
)
def test_numbers_are_compared_by_ratio_and_expressions_at_points(comparer, one, other, verdict):
    assert comparer.compare(one, other) == verdict == comparer.compare(other, one)


def test_a_time_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"timeout_s must be above 0"):
        SymbolicComparer(0)
