"""Being told to stop: SIGTERM unwinds the program as Ctrl-C does, and is told apart from it."""

from __future__ import annotations

import os
import signal

import pytest

from rl.run import stopping
from rl.run.stopping import STOPPED, Terminated, exit_code, install_sigterm_handler, stop_reason


@pytest.fixture(autouse=True)
def handler(monkeypatch):
    monkeypatch.setattr(stopping, "_received", set())
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_unwinds_the_program_and_a_second_one_is_ignored():
    install_sigterm_handler()
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_remembered_if_a_library_turns_it_into_ctrl_c():
    install_sigterm_handler()
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop_reason(KeyboardInterrupt()) == "stopped by SIGTERM"
    assert exit_code(KeyboardInterrupt()) == 143


def test_both_signals_have_their_messages_and_exit_codes():
    assert (stop_reason(Terminated()), exit_code(Terminated())) == ("stopped by SIGTERM", 143)
    assert (stop_reason(KeyboardInterrupt()), exit_code(KeyboardInterrupt())) == ("stopped by Ctrl-C", 130)
    assert {130, 143} == STOPPED
