"""Signals and patience, which every engine has from the same code."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mlstack.engines import stopping
from mlstack.engines.stopping import Patience, SignalNote


@pytest.fixture
def note() -> Iterator[SignalNote]:
    note = SignalNote()
    note.listen()
    yield note
    note.close()


def test_a_signal_is_noted_and_handled_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in stopping.HANDLED]
    note = SignalNote()
    note.listen()
    assert note.turn() == 0
    os.kill(os.getpid(), signal.SIGTERM)
    assert note.turn() == signal.SIGTERM
    note.close()
    assert [signal.getsignal(number) for number in stopping.HANDLED] == before


def test_a_sigterm_that_is_sent_three_times_at_once_is_one(note: SignalNote) -> None:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
    assert note.received == signal.SIGTERM


@pytest.mark.parametrize(("inherited", "noted"), [(signal.SIG_DFL, signal.SIGHUP), (signal.SIG_IGN, 0)])
def test_a_terminal_that_closes_is_noted_unless_nohup_was_typed(
    inherited: signal.Handlers, noted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "leave_terminal", lambda: None)  # that of the tests is still there
    before = signal.signal(signal.SIGHUP, inherited)
    note = SignalNote()
    note.listen()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        assert note.turn() == noted
    finally:
        note.close()
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_is_not_waited_for(note: SignalNote) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    assert note.received == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


LATE = """
import os, signal
from mlstack.engines import stopping
stopping.REPEATED = -1.0
stopping.SignalNote().listen()
for _ in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_late_second_sigterm_ends_the_process_at_once() -> None:
    assert subprocess.run([sys.executable, "-c", LATE], check=False).returncode == -signal.SIGTERM


@pytest.mark.parametrize(("mode", "scores"), [("max", [0.5, 0.6, 0.6, math.nan]), ("min", [0.5, 0.4, 0.4, 0.41])])
def test_patience_is_over_after_so_many_validations_without_a_new_best(mode: str, scores: list[float]) -> None:
    patience = Patience(mode=mode, patience=2)
    assert [patience.observe(score) for score in scores] == [False, False, False, True]
    again = Patience(mode=mode, patience=2)
    again.load_state_dict(patience.state_dict())
    assert again.state_dict() == {"best": scores[1], "waited": 2}
