from __future__ import annotations

import os
import signal
import threading

import pytest

from rewards.symbolic import SymbolicComparer


@pytest.fixture(scope="module")
def comparer():
    comparer = SymbolicComparer()
    yield comparer
    comparer.close()


def test_it_works_outside_the_main_thread(comparer):
    found = []
    threads = [threading.Thread(target=lambda: found.append(comparer.equal("1/2", "0.5"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 3


def test_a_dead_child_is_a_timeout_and_the_next_question_starts_another(comparer):
    assert comparer.equal("1/2", "0.5")
    os.kill(comparer._child.pid, signal.SIGKILL)
    with pytest.raises(TimeoutError):
        comparer.equal("1/2", "0.5")
    assert comparer.equal("1/2", "0.5")


def test_text_with_line_breaks_is_one_question(comparer):
    assert not comparer.equal('1\n"2"\n', "3\n")
    assert comparer.equal("4", "4")


def test_a_time_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"reward\.timeout_s must be above 0"):
        SymbolicComparer(0)
