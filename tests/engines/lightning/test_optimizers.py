from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.engines.lightning.optimizers import build_optimizer, build_schedule
from mlstack.errors import ConfigError

pytestmark = pytest.mark.framework


def after_steps(*gradients: float, fused: bool, **settings: Any) -> float:
    """Where a single weight of 0.5 goes."""
    weight = nn.Parameter(torch.tensor([0.5]))
    optimizer = build_optimizer(ModelConfig(**settings), [weight], fused=fused)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        optimizer.step()
    return weight.item()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("settings", "gradients", "expected"),
    [
        # the first step of Adam is lr · sign: 0.5 - 0.001
        ({"optimizer": "adam", "learning_rate": 0.001, "weight_decay": 0.0}, [2.0], 0.499),
        # AdamW first shrinks the weight: 0.5 · (1 - 0.001 · 0.1) - 0.001
        ({"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.1}, [2.0], 0.49895),
        # SGD adds the decay to the gradient: 0.5 - 0.1 · (2 + 0.2 · 0.5)
        ({"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.2}, [2.0], 0.29),
        # with momentum 0.5 the second step is 0.1 · (1 + 0.5 · 2): 0.5 - 0.2 - 0.2
        (
            {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.0, "optimizer_args": {"momentum": 0.5}},
            [2.0, 1.0],
            0.1,
        ),
        # betas [0, 0] make each step lr · sign
        (
            {"optimizer": "adam", "learning_rate": 0.1, "weight_decay": 0.0, "optimizer_args": {"betas": [0.0, 0.0]}},
            [2.0, -1.0, 3.0],
            0.4,
        ),
    ],
)
def test_a_step_is_the_one_worked_out_by_hand(
    settings: dict[str, Any], gradients: list[float], expected: float, fused: bool
) -> None:
    assert after_steps(*gradients, fused=fused, **settings) == pytest.approx(expected, abs=1e-6)


def test_frozen_parameters_are_left_out() -> None:
    learning, frozen = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1), requires_grad=False)
    optimizer = build_optimizer(ModelConfig(), [learning, frozen], fused=False)
    assert [group["params"] for group in optimizer.param_groups] == [[learning]]


def test_arguments_that_an_optimizer_refuses_are_one_message() -> None:
    with pytest.raises(ConfigError, match=r"model.optimizer=sgd refuses model.optimizer_args=\{'momentum': -1\}"):
        after_steps(fused=False, optimizer="sgd", optimizer_args={"momentum": -1})


def test_a_network_that_has_nothing_to_learn_is_refused() -> None:
    frozen = nn.Parameter(torch.zeros(1), requires_grad=False)
    with pytest.raises(ConfigError, match="nothing to learn") as caught:
        build_optimizer(ModelConfig(), [frozen], fused=False)
    assert "model.freeze_backbone=false" in caught.value.hint


def test_the_schedule_multiplies_the_learning_rate() -> None:
    weight = nn.Parameter(torch.zeros(1))
    config = ModelConfig(learning_rate=0.2, scheduler="warmup_cosine", warmup_fraction=0.5)
    optimizer = build_optimizer(config, [weight], fused=False)
    schedule = build_schedule(config, optimizer, total_steps=4)
    rates = []
    for _ in range(4):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1, 0.2, 0.2, 0.1])
