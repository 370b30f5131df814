from __future__ import annotations

from typing import Any

import pytest
import torch
from arithmetic_lightning import Weight, layered

from mlstack.config import ModelConfig
from mlstack.engines.lightning.optimizers import build_optimizer

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("fused", [True, False])
def test_dampening_takes_its_share_off_every_gradient_after_the_first(fused: bool) -> None:
    # 0.5 - 0.1 · 2, then 0.1 · (0.75 · 1 + 0.5 · 2)
    network = Weight()
    weight = next(network.parameters())
    args = {"momentum": 0.5, "dampening": 0.25}
    config = ModelConfig(optimizer="sgd", learning_rate=0.1, weight_decay=0.0, optimizer_args=args)
    optimizer = build_optimizer(config, network, fused=fused)
    for gradient in (2.0, 1.0):
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    assert weight.item() == pytest.approx(0.5 - 0.2 - 0.175, abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "optimizer_args": {"momentum": 0.9, "nesterov": True}},
        {"optimizer": "adam", "optimizer_args": {"betas": [0.8, 0.9], "amsgrad": True}},
        {"optimizer": "adamw"},
        {"optimizer": "muon"},
    ],
)
def test_one_kernel_takes_the_steps_of_many(settings: dict[str, Any]) -> None:
    found = []
    for fused in (True, False):
        torch.manual_seed(0)
        network = layered()
        optimizer = build_optimizer(ModelConfig(learning_rate=0.01, weight_decay=0.1, **settings), network, fused=fused)
        for step in range(5):
            generator = torch.Generator().manual_seed(step)
            for weight in network.parameters():
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        found.append(torch.cat([weight.detach().flatten() for weight in network.parameters()]))
    assert torch.allclose(*found, atol=1e-6)
