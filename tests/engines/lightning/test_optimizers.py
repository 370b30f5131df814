from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlstack.config import ModelConfig
from mlstack.engines.lightning.optimizers import Schedule, build_optimizer
from mlstack.errors import ConfigError

pytestmark = pytest.mark.framework


class Weight(nn.Module):
    """A single weight of 0.5, as a matrix (`weight`) or as a vector (`bias`)."""

    def __init__(self, name: str = "weight") -> None:
        super().__init__()
        shape = (1, 1) if name == "weight" else (1,)
        self.register_parameter(name, nn.Parameter(torch.full(shape, 0.5)))


def after_steps(*gradients: float, fused: bool, name: str = "weight", **settings: Any) -> float:
    """Where a single weight of 0.5 goes."""
    network = Weight(name)
    weight = next(network.parameters())
    optimizer = build_optimizer(ModelConfig(**settings), network, fused=fused)
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
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
        # but not to that of a bias: 0.5 - 0.1 · 2 …
        ({"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.2, "name": "bias"}, [2.0], 0.3),
        # … unless told
        (
            {
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "weight_decay": 0.2,
                "name": "bias",
                "decay_norm_and_bias": True,
            },
            [2.0],
            0.29,
        ),
        # with momentum 0.5 the second step is 0.1 · (1 + 0.5 · 2): 0.5 - 0.2 - 0.2
        (
            {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.0, "optimizer_args": {"momentum": 0.5}},
            [2.0, 1.0],
            0.1,
        ),
        # dampening takes 0.25 off every gradient after the first: 0.1 · (0.75 · 1 + 0.5 · 2)
        (
            {
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "weight_decay": 0.0,
                "optimizer_args": {"momentum": 0.5, "dampening": 0.25},
            },
            [2.0, 1.0],
            0.5 - 0.2 - 0.175,
        ),
        # Nesterov looks ahead: 0.1 · (2 + 0.5 · 2) at once
        (
            {
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "weight_decay": 0.0,
                "optimizer_args": {"momentum": 0.5, "nesterov": True},
            },
            [2.0],
            0.2,
        ),
        # betas [0, 0] make each step lr · sign
        (
            {"optimizer": "adam", "learning_rate": 0.1, "weight_decay": 0.0, "optimizer_args": {"betas": [0.0, 0.0]}},
            [2.0, -1.0, 3.0],
            0.4,
        ),
        # with Muon a single layer is first layer and head, so AdamW's
        ({"optimizer": "muon", "learning_rate": 0.001, "weight_decay": 0.1}, [2.0], 0.49895),
    ],
)
def test_a_step_is_the_one_worked_out_by_hand(
    settings: dict[str, Any], gradients: list[float], expected: float, fused: bool
) -> None:
    assert after_steps(*gradients, fused=fused, **settings) == pytest.approx(expected, abs=1e-6)


class Mixed(nn.Module):
    """Every kind of parameter: layers, norms of one and of three dimensions, a slope, a scale, a token, a table."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.batch_norm = nn.BatchNorm2d(8)
        self.layer_norm = nn.LayerNorm([8, 6, 6])
        self.slope = nn.PReLU(8)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 36, 8))
        self.position_bias = nn.Parameter(torch.zeros(36, 8))
        self.words = nn.Embedding(5, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.hidden = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 1)


def names_by_group(network: nn.Module, **settings: Any) -> dict[str, set[str]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = build_optimizer(ModelConfig(**settings), network, fused=False).param_groups
    return {group["name"]: {names[id(parameter)] for parameter in group["params"]} for group in groups}


WEIGHTS = {
    "convolution.weight",
    "positions",
    "words.weight",
    "attention.in_proj_weight",
    "attention.out_proj.weight",
    "hidden.weight",
    "head.weight",
}
SCALES = {"scale", "token", "position_bias", "slope.weight", "batch_norm.weight", "layer_norm.weight"}


def test_weight_decay_leaves_norms_biases_and_vectors_alone() -> None:
    network = Mixed()
    groups = names_by_group(network)
    assert groups["weights"] == WEIGHTS
    biases = {name for name, _ in network.named_parameters() if name.endswith("bias")}
    assert groups["norms_and_biases"] == SCALES | biases
    optimizer = build_optimizer(ModelConfig(weight_decay=0.3), network, fused=False)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


def test_weight_decay_can_shrink_everything() -> None:
    network = Mixed()
    groups = names_by_group(network, decay_norm_and_bias=True)
    assert groups == {"weights": {name for name, _ in network.named_parameters()}}


def test_muon_takes_what_lies_between_the_first_layer_and_the_head() -> None:
    groups = names_by_group(Mixed(), optimizer="muon")
    assert groups["hidden"] == {"attention.in_proj_weight", "attention.out_proj.weight", "hidden.weight"}
    assert groups["weights"] == WEIGHTS - groups["hidden"]
    everything = names_by_group(Mixed(), optimizer="muon", decay_norm_and_bias=True)
    assert everything["hidden"] == groups["hidden"] and len(everything) == 2


@pytest.mark.parametrize("as_buffer", [False, True])
def test_behind_a_layer_that_does_not_learn_the_first_one_that_does_is_hidden(as_buffer: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 2), nn.Conv2d(8, 8, 3), nn.Linear(8, 2)).requires_grad_(True)
    whitening = network[0]
    if as_buffer:
        values = whitening.weight.detach()
        del whitening.weight
        whitening.register_buffer("weight", values)
    else:
        whitening.weight.requires_grad_(False)
    assert names_by_group(network, optimizer="muon")["hidden"] == {"1.weight"}


def test_frozen_parameters_are_left_out_and_shared_ones_come_once() -> None:
    learning, frozen = nn.Linear(2, 2, bias=False), nn.Linear(2, 2).requires_grad_(False)
    for optimizer in ("sgd", "muon"):
        groups = names_by_group(nn.Sequential(learning, frozen, learning), optimizer=optimizer)
        assert groups == {"weights": {"0.weight"}}


def test_arguments_that_an_optimizer_refuses_are_one_message() -> None:
    with pytest.raises(ConfigError, match=r"model.optimizer=sgd refuses model.optimizer_args=\{'momentum': -1\}"):
        after_steps(fused=False, optimizer="sgd", optimizer_args={"momentum": -1})
    with pytest.raises(ConfigError, match=r"model.optimizer=muon refuses model.optimizer_args=\{'speed': 1\}"):
        after_steps(fused=False, optimizer="muon", optimizer_args={"speed": 1})


def test_a_network_that_has_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to learn") as caught:
        build_optimizer(ModelConfig(), Weight().requires_grad_(False), fused=False)
    assert "model.freeze_backbone=false" in caught.value.hint


def test_scale_multiplies_every_group_s_rate() -> None:
    args = {"rest_learning_rate": 0.01}
    config = ModelConfig(optimizer="muon", learning_rate=0.1, optimizer_args=args)
    optimizer = build_optimizer(config, Mixed(), fused=False, scale=4.0)
    rates = {group["name"]: (group["lr"], group["initial_lr"]) for group in optimizer.param_groups}
    assert rates == {"hidden": (0.4, 0.4), "weights": (0.04, 0.04), "norms_and_biases": (0.04, 0.04)}


def schedule_of(network: nn.Module | None = None, *, mode: str = "max", **settings: Any) -> Schedule:
    config = ModelConfig(learning_rate=0.2, **settings)
    optimizer = build_optimizer(config, network or Weight(), fused=False)
    return Schedule(config, optimizer, total_steps=4, steps_per_epoch=2, mode=mode)


def test_the_schedule_sets_the_rate_of_each_step() -> None:
    schedule = schedule_of(scheduler="warmup_cosine", warmup_fraction=0.5)
    rates = [schedule.rate]  # that of the first step, before anybody sets it
    for step in range(4):
        schedule.set(step)
        rates.append(schedule.rate)
    assert rates == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.1])
    schedule.observe(0.5)
    assert schedule.rate == pytest.approx(0.1)


def test_the_schedule_counts_epochs_and_takes_arguments() -> None:
    schedule = schedule_of(scheduler="step", scheduler_args={"every": 1, "gamma": 0.5})
    rates = []
    for step in range(4):
        schedule.set(step)
        rates.append(schedule.rate)
    assert rates == pytest.approx([0.2, 0.2, 0.1, 0.1])


def test_every_group_keeps_its_own_peak() -> None:
    config = ModelConfig(
        optimizer="muon", learning_rate=0.1, optimizer_args={"rest_learning_rate": 0.01}, scheduler="cosine"
    )
    optimizer = build_optimizer(config, Mixed(), fused=False)
    Schedule(config, optimizer, total_steps=4, steps_per_epoch=2).set(2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.005, 0.005])


@pytest.mark.parametrize(("mode", "scores"), [("max", [0.5, 0.4, 0.4]), ("min", [0.4, 0.5, 0.5])])
def test_a_plateau_lowers_the_rate_after_the_validation(mode: str, scores: list[float]) -> None:
    schedule = schedule_of(scheduler="reduce_on_plateau", scheduler_args={"patience": 1}, mode=mode)
    rates = []
    for step, score in enumerate(scores):
        schedule.set(step)
        schedule.observe(score)
        rates.append(schedule.rate)
    schedule.set(3)
    assert [*rates, schedule.rate] == pytest.approx([0.2, 0.2, 0.02, 0.02])


def test_a_schedule_goes_on_from_its_state() -> None:
    settings: dict[str, Any] = {"scheduler": "reduce_on_plateau", "scheduler_args": {"patience": 1}}
    first, second = schedule_of(**settings), schedule_of(**settings)
    for score in (0.5, 0.4, math.nan, 0.4):
        first.observe(score)
    second.load_state_dict(first.state_dict())
    assert second.rate == first.rate == pytest.approx(0.02)
    second.observe(0.3)
    assert second.rate == pytest.approx(0.002)


def test_a_schedule_s_state_says_the_step() -> None:
    first, second = schedule_of(scheduler="cosine"), schedule_of(scheduler="cosine")
    first.set(2)
    second.load_state_dict(first.state_dict())
    assert second.rate == first.rate == pytest.approx(0.1)


def loss_after(steps: int, **settings: Any) -> tuple[float, float]:
    """First and last loss of a small network that learns to tell two kinds of pictures apart."""
    torch.manual_seed(0)
    images = torch.randn(32, 1, 6, 6)
    labels = (images[:, 0, :3].sum(dim=(1, 2)) > 0).long()
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)
    )
    optimizer = build_optimizer(ModelConfig(weight_decay=0.0, **settings), network, fused=True)
    losses: list[Tensor] = []
    for _ in range(steps):
        losses.append(nn.functional.cross_entropy(network(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    return losses[0].item(), losses[-1].item()


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "learning_rate": 0.1, "optimizer_args": {"momentum": 0.9, "nesterov": True}},
        {"optimizer": "adam", "learning_rate": 0.005},
        {"optimizer": "adamw", "learning_rate": 0.005},
        {"optimizer": "muon", "learning_rate": 0.005},
    ],
)
def test_every_optimizer_learns_a_small_problem(settings: dict[str, Any]) -> None:
    first, last = loss_after(60, **settings)
    assert first > 0.5 and last < 0.1
