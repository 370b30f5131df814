from __future__ import annotations

import os
import sys
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


def test_a_reader_who_leaves_ends_neither_the_run_nor_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        with logged_to(tmp_path / "train.log"):
            say("one\ntwo")
            say("three")
    lines = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert [line.split()[-1] for line in lines] == ["one", "two", "three"]


def test_a_log_on_a_full_disk_costs_one_line_and_no_traceback(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "x" * 70_000
    with logged_to(small_disk / "train.log"):
        for _ in range(40):
            say(words)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines.count(words) == 40
    assert [line for line in lines if line != words] == [
        f"warning: {small_disk / 'train.log'} can't be written: No space left on device"
    ]
    assert said.err == ""


def test_a_log_in_which_nothing_is_written_is_not_made(tmp_path: Path) -> None:
    with logged_to(tmp_path / "train.log"):
        pass
    assert list(tmp_path.iterdir()) == []
