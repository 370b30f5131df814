"""docs/engines.md against the schema and the files that it names. What it quotes of Paddle: tests/engines/paddle."""

from __future__ import annotations

import re
from pathlib import Path

from mlstack.config.engine_limits import PADDLE_LIMITS
from mlstack.config.keys import walk
from mlstack.config.model import ModelConfig
from mlstack.config.trainer import TrainerConfig

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
MOST_LIMITS = 6


def rows(title: str) -> list[list[str]]:
    """The cells of the first table of a section, without its head."""
    section = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[1:]]


def test_the_table_has_each_setting_of_model_and_trainer_once() -> None:
    named = [name for first, *_ in rows("Setting by setting") for name in re.findall(r"`([^`]+)`", first)]
    expected = [
        *(key.name for key in walk(ModelConfig, "model.")),
        *(key.name for key in walk(TrainerConfig, "trainer.")),
    ]
    assert sorted(named) == sorted(expected)


def test_each_row_says_something_of_both_engines() -> None:
    assert {len(row) for row in rows("Setting by setting")} == {3}


def test_the_limits_are_those_that_are_refused() -> None:
    listed = [re.findall(r"`([^`=]+)=", setting)[0] for setting, *_ in rows("What Paddle cannot do")]
    assert listed == [*(limit.key for limit in PADDLE_LIMITS), "model.pretrained"]
    assert len(listed) <= MOST_LIMITS


def test_what_may_be_dropped_is_there() -> None:
    pins = (ROOT / "requirements-cpu.txt").read_text(encoding="utf-8")
    rest = {file.strip("`"): cells for file, *cells in rows("Keep one engine only")}
    for cell in rest["requirements-cpu.txt"]:
        for package in re.findall(r"`([^`]+)`", cell):
            assert re.search(rf"^{package}==", pins, re.MULTILINE), package
    for file, cells in rest.items():
        if file.endswith(".py"):
            text = (ROOT / file).read_text(encoding="utf-8")
            assert all(name in text for cell in cells for name in re.findall(r"`(\w+)`", cell)), file
