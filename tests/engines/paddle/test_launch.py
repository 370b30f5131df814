"""Processes that rank 0 starts for the other devices of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401  # before anything else imports Paddle

from mlstack.engines.paddle import launch
from mlstack.runs import RUN_FOLDER_VARIABLE, RunFolder

pytestmark = pytest.mark.framework


class Ended(BaseException):
    """What leaves the process in a test."""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[subprocess.Popen[bytes]]]:
    """`watch(program)`: two other ranks, the first of which runs `program` and the second waits for a minute."""

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(launch, "WATCHED_EVERY", 0.05)

    def watch(program: str) -> list[subprocess.Popen[bytes]]:
        others = [
            subprocess.Popen([sys.executable, "-S", "-c", one]) for one in (program, "import time; time.sleep(60)")
        ]
        try:
            launch._watch(others)
        finally:
            for other in others:
                other.kill()
                other.wait()
        return others

    return watch


def test_a_rank_that_fails_ends_the_whole_run_which_says_so(
    watch: Callable[[str], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunFolder(tmp_path)
    run.update_results(status="running")
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(Ended, match="1"):
        watch("import sys; sys.exit(3)")
    reason = "another process of this run ended with status 3"
    assert reason in capsys.readouterr().out
    assert run.read_results() == {"status": "failed", "error": reason}


def test_a_rank_that_has_failed_before_anyone_looks_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)
    other = subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.exit(3)"])
    other.wait()
    with pytest.raises(Ended, match="1"):
        launch._watch([other])


def test_a_rank_that_stops_at_a_signal_is_left_to_write_its_checkpoint_with_the_others(
    watch: Callable[[str], object], capsys: pytest.CaptureFixture[str]
) -> None:
    watch("import sys; sys.exit(143)")  # `Ended` would leave it
    assert capsys.readouterr().out == ""


def test_each_rank_is_told_what_the_launcher_of_paddle_would_tell_it() -> None:
    told = launch.environment(1, ["127.0.0.1:5000", "127.0.0.1:5001"])
    assert told["PADDLE_TRAINER_ID"] == "1"
    assert told["PADDLE_TRAINERS_NUM"] == "2"
    assert told["PADDLE_CURRENT_ENDPOINT"] == "127.0.0.1:5001"
    assert told["PADDLE_TRAINER_ENDPOINTS"] == "127.0.0.1:5000,127.0.0.1:5001"
