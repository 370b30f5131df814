from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mlstack.config.trainer import ENGINES

from .conftest import Run

DOCUMENT = Path(__file__).parents[2] / "docs" / "own_model_and_data.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
# `my_project/stripes.py`, a blank line, then the block that it holds
FILES = re.findall(r"^`(my_project/\S+)`\n\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    (command, engine)
    for command in re.findall(r"^python (scripts/.*)$", TEXT, re.MULTILINE)
    for engine in ["paddle" if "trainer=paddle" in command else "lightning"]
    if engine in ENGINES
]


@pytest.fixture
def my_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document's files, in a folder outside the repository."""
    for name, text in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my_project"


def test_the_document_shows_a_file_and_a_yaml_for_each() -> None:
    assert [name for name, _ in FILES] == [
        "my_project/stripes.py",
        "my_project/data/stripes.yaml",
        "my_project/tiny_net.py",
        "my_project/model/tiny_net.yaml",
        "my_project/tiny_net_paddle.py",
        "my_project/recipe/stripes.yaml",
    ]


@pytest.mark.framework
@pytest.mark.parametrize(("command", "engine"), COMMANDS)
def test_a_model_and_a_data_set_outside_the_repository_train(
    command: str, engine: str, my_project: Path, run_script: Run
) -> None:
    short = ["trainer.max_epochs=1", "trainer.progress_bar=false", "tracker=none"]
    answer = run_script([*shlex.split(command), *short])
    assert answer.status == 0, answer.err
    [results] = (my_project.parent / "outputs").glob(f"stripes_tiny_net_{engine}/*/results.json")
    assert '"status": "finished"' in results.read_text()
