"""What docs/engines.md quotes is what Paddle says, and what the settings refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlstack.config import Config
from mlstack.config.compose import compose_node, to_typed
from mlstack.config.trainer import ENGINES
from mlstack.errors import ConfigError
from mlstack.models.catalog import check_pretrained
from mlstack.models.paddle.quiet import paddle

pytestmark = pytest.mark.framework

DOCUMENT = Path(__file__).parents[3] / "docs" / "engines.md"
SECTION = DOCUMENT.read_text(encoding="utf-8").partition("\n## What Paddle cannot do\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", SECTION, re.MULTILINE)
MORE = {  # what a setting needs beside it to be refused for this reason alone
    "model.optimizer_args.dampening=0.1": ["model.optimizer=sgd", "model.optimizer_args.momentum=0.9"],
    "model.pretrained=true": ["model.name=vgg11"],
    "prune.method=structured": ["prune.ratio=0.5", "init_from=latest"],
}


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """What the expressions of the document may name; on a CPU, so that a machine with a GPU answers alike."""
    device = paddle.get_device()
    paddle.set_device("cpu")
    network = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.AdamW(parameters=network.parameters())
    yield {"paddle": paddle, "network": network, "optimizer": optimizer}
    paddle.set_device(device)


def test_all_rows_are_read() -> None:
    assert len(ROWS) == SECTION.count("\n| `")
    assert ROWS


@pytest.mark.parametrize(("expression", "answer"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_paddle_answers_as_the_document_says(expression: str, answer: str, names: dict[str, Any]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  its kind is part of the answer
        eval(expression, names)
    assert f"{caught.type.__name__}: {caught.value}" == answer


@pytest.mark.parametrize("setting", [row[0] for row in ROWS])
def test_the_setting_is_refused_with_paddle_and_only_there(setting: str) -> None:
    words = [setting, *MORE.get(setting, [])]

    def compose(*others: str) -> None:
        config = to_typed(compose_node(Config, [*words, *others], config_name="config"), Config)
        if config.model.pretrained:
            check_pretrained(config.model.name, config.trainer.engine)

    with pytest.raises(ConfigError) as caught:
        compose("trainer=paddle")
    message = str(caught.value)
    assert setting in message
    assert "trainer.engine=paddle" in message
    assert "\ntype " in message
    assert len(message.splitlines()) == 2
    if "lightning" in ENGINES:
        compose("trainer.engine=lightning")
