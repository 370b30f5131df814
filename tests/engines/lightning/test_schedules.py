"""Schedules are those of torch, where torch has them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mlstack.engines.schedules import Plateau, schedule_factor

pytestmark = pytest.mark.framework

SCORES = [0.5, 0.6, 0.6, 0.59, 0.58, 0.6, 0.61, 0.1, 0.1, math.nan, 0.1, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("name", "theirs", "their_args", "ours"),
    [
        ("step", "StepLR", {"step_size": 20, "gamma": 0.3}, {"every": 2, "gamma": 0.3}),
        ("step", "MultiStepLR", {"milestones": [30, 75]}, {"milestones": [3, 7.5]}),
        ("cosine", "CosineAnnealingLR", {"T_max": 100, "eta_min": 0.05}, {"final_factor": 0.1}),
        ("cosine_restarts", "CosineAnnealingWarmRestarts", {"T_0": 20, "T_mult": 1}, {"cycles": 5, "mult": 1}),
        ("cosine_restarts", "CosineAnnealingWarmRestarts", {"T_0": 10, "T_mult": 3}, {"first_cycle": 1, "mult": 3}),
        ("one_cycle", "OneCycleLR", {"pct_start": 0.25, "anneal_strategy": "linear"}, {}),
        ("one_cycle", "OneCycleLR", {"pct_start": 0.25, "anneal_strategy": "cos"}, {"anneal": "cosine"}),
    ],
)
def test_each_step_is_torch_s(name: str, theirs: str, their_args: dict[str, Any], ours: dict[str, Any]) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    if theirs == "OneCycleLR":
        their_args = {"max_lr": 0.5, "total_steps": 100, "cycle_momentum": False, **their_args}
    schedule = getattr(torch.optim.lr_scheduler, theirs)(optimizer, **their_args)
    for step in range(100):
        factor = schedule_factor(name, step, total_steps=100, steps_per_epoch=10, warmup_fraction=0.25, args=ours)
        assert 0.5 * factor == pytest.approx(optimizer.param_groups[0]["lr"]), step
        optimizer.step()
        if step < 99:
            schedule.step()


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_a_plateau_is_torch_s_without_a_threshold(mode: str, patience: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode=mode,  # type: ignore[arg-type]
        factor=0.5,
        patience=patience,
        threshold=0.0,
        eps=0.0,
    )
    ours = Plateau(mode=mode, patience=patience, factor=0.5)
    for score in SCORES:
        theirs.step(score)
        ours.observe(score)
        assert ours.share == optimizer.param_groups[0]["lr"], score
