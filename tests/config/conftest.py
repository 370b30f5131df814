from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlstack.config import Config
from mlstack.config.command_line import run

Outcome = tuple[int, str, str]  # exit status, stdout, stderr

PROBE = """
received = []

def keep(config):
    received.append(config)
"""


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A user's folder outside the repository, with a task that keeps the config that it is given."""
    folder = tmp_path / "own"
    for group in ("model", "data", "recipe"):
        (folder / group).mkdir(parents=True)
    (folder / "probe.py").write_text(PROBE)
    return folder


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """Run a command line in this process, in an empty folder: `command("model=resnet34")`."""
    empty = tmp_path / "working_folder"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")

    def call(
        *words: str, task: str = "no_such_module:task", schema: type = Config, config_name: str = "config"
    ) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        with pytest.raises(SystemExit) as end:
            run(task, schema, config_name=config_name, usage="Train a model.")
        out, err = capfd.readouterr()
        assert isinstance(end.value.code, int)
        assert not list(empty.iterdir()), "a config command wrote something"
        return end.value.code, out, err

    return call
