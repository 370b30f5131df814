from __future__ import annotations

from pathlib import Path

import pytest

from mlstack.utils.console import logged_to, say


def test_what_is_said_stands_on_the_terminal_and_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say("before")
    with logged_to(tmp_path / "train.log"):
        say("during, 三")
    say("after")
    assert capsys.readouterr().out == "before\nduring, 三\nafter\n"
    [line] = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith("  during, 三")


def test_a_log_in_which_nothing_is_written_is_not_made(tmp_path: Path) -> None:
    with logged_to(tmp_path / "train.log"):
        pass
    assert list(tmp_path.iterdir()) == []
