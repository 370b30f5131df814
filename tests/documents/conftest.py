from __future__ import annotations

import contextlib
import dataclasses
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    status: int
    out: str
    err: str


Run = Callable[[Sequence[str]], Answer]


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `scripts/NAME.py ARGUMENT…` as typed, in this process: a process of its own would import torch each time.

    No network: what would be downloaded has to fail in the way that a user without one sees.
    """
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("WANDB_MODE", "offline")
    # --config-dir adds to both; what is restored afterwards is what stood there before.
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    monkeypatch.setenv("PYTHONPATH", "")

    def run(words: Sequence[str]) -> Answer:
        script = SCRIPTS / Path(words[0]).name
        monkeypatch.setattr(sys, "argv", [str(script), *words[1:]])
        status: object = 0
        with contextlib.ExitStack() as stack:
            ended = stack.enter_context(pytest.raises(SystemExit))
            runpy.run_path(str(script), run_name="__main__")
        status = ended.value.code
        captured = capsys.readouterr()
        return Answer(status if isinstance(status, int) else 0 if status is None else 1, captured.out, captured.err)

    return run
