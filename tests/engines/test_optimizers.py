from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.config import DataConfig, ModelConfig
from mlstack.engines.learning_rate import Schedule
from mlstack.errors import ConfigError

pytestmark = pytest.mark.framework


@pytest.fixture
def arithmetic(engine: str) -> Any:
    return importlib.import_module(f"arithmetic_{engine}")


@pytest.fixture
def after_steps(arithmetic: Any) -> Callable[..., float]:
    """`after_steps(2.0, -1.0, optimizer="sgd")`: where a single weight of 0.5 goes with these gradients."""

    def after_steps(*gradients: float, name: str = "weight", **settings: Any) -> float:
        network = arithmetic.Weight(name)
        (weight,) = network.parameters()
        optimizer = arithmetic.Optimizer(ModelConfig(**settings), network)
        for gradient in gradients:
            arithmetic.set_gradient(weight, gradient)
            optimizer.step()
        return float(weight.item())

    return after_steps


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
    after_steps: Callable[..., float], settings: dict[str, Any], gradients: list[float], expected: float
) -> None:
    assert after_steps(*gradients, **settings) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_follows_its_formula(arithmetic: Any, name: str, amsgrad: bool, dtype: str) -> None:
    # https://arxiv.org/abs/1412.6980, algorithm 1; decay as in https://arxiv.org/abs/1711.05101, algorithm 2
    rate, decay, first, second, eps = 0.25, 0.125, 0.5, 0.75, 0.01
    args = {"betas": [first, second], "eps": eps, "amsgrad": amsgrad}
    config = ModelConfig(optimizer=name, learning_rate=rate, weight_decay=decay, optimizer_args=args)
    network = arithmetic.sequential(arithmetic.linear(3, 2))
    if dtype == "float64":
        network.to(dtype=arithmetic.tensor(0.0, dtype).dtype)
    optimizer = arithmetic.Optimizer(config, network)
    weight = arithmetic.weights(network)["0.weight"].astype(np.float64)
    mean = square = largest = np.zeros((2, 3))
    for step in range(1, 6):
        drawn = np.random.default_rng(step).normal(size=(2, 3)) / step**2  # ever smaller: amsgrad remembers
        arithmetic.set_gradients(network, {"0.weight": drawn, "0.bias": np.zeros(2)})
        optimizer.step()
        gradient = drawn + decay * weight if name == "adam" else drawn
        weight = weight * (1 - rate * decay) if name == "adamw" else weight
        mean, square = first * mean + (1 - first) * gradient, second * square + (1 - second) * gradient**2
        largest = np.maximum(largest, square)
        size = np.sqrt((largest if amsgrad else square) / (1 - second**step)) + eps
        weight = weight - rate * mean / (1 - first**step) / size
    got = arithmetic.weights(network)["0.weight"]
    assert got.dtype == dtype
    assert np.abs(got - weight).max() < (1e-6 if dtype == "float32" else 1e-12)


def test_arguments_that_an_optimizer_refuses_are_one_message(after_steps: Callable[..., float]) -> None:
    with pytest.raises(ConfigError, match=r"model.optimizer=sgd refuses model.optimizer_args=\{'momentum': -1\}"):
        after_steps(optimizer="sgd", optimizer_args={"momentum": -1})
    with pytest.raises(ConfigError, match=r"model.optimizer=sgd refuses model.optimizer_args=\{'nesterov': True\}"):
        after_steps(optimizer="sgd", optimizer_args={"nesterov": True})
    with pytest.raises(ConfigError, match=r"model.optimizer=muon refuses model.optimizer_args=\{'speed': 1\}"):
        after_steps(optimizer="muon", optimizer_args={"speed": 1})


def test_a_network_that_has_nothing_to_learn_is_refused(arithmetic: Any) -> None:
    with pytest.raises(ConfigError, match="nothing to learn") as caught:
        arithmetic.Optimizer(ModelConfig(), arithmetic.freeze(arithmetic.Weight()))
    assert "model.freeze_backbone=false" in caught.value.hint


def test_scale_multiplies_every_group_s_rate(arithmetic: Any) -> None:
    args = {"rest_learning_rate": 0.01}
    config = ModelConfig(optimizer="muon", learning_rate=0.1, optimizer_args=args)
    optimizer = arithmetic.Optimizer(config, arithmetic.Mixed(), scale=4.0)
    peaks = {"hidden": 0.4, "weights": 0.04, "norms_and_biases": 0.04}
    assert optimizer.rates == peaks
    optimizer.set_factor(0.5)
    optimizer.set_factor(0.25)  # of the peak, not of the last one
    assert optimizer.rates == pytest.approx({name: peak / 4 for name, peak in peaks.items()})


def test_every_group_keeps_its_own_peak_in_a_schedule(arithmetic: Any) -> None:
    config = ModelConfig(
        optimizer="muon", learning_rate=0.1, optimizer_args={"rest_learning_rate": 0.01}, scheduler="cosine"
    )
    optimizer = arithmetic.Optimizer(config, arithmetic.Mixed())
    Schedule(config, optimizer.set_factor, total_steps=4, steps_per_epoch=2).set(2)
    assert list(optimizer.rates.values()) == pytest.approx([0.05, 0.005, 0.005])
    assert optimizer.rate == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_new_rate_holds_from_the_next_step_on(arithmetic: Any, name: str) -> None:
    # betas of 0 make AdamW's steps rate · sign; SGD's are rate · gradient, here 1
    args = {"betas": [0.0, 0.0]} if name == "adamw" else {}
    config = ModelConfig(optimizer=name, learning_rate=0.1, weight_decay=0.0, optimizer_args=args)
    network = arithmetic.Weight()
    (weight,) = network.parameters()
    optimizer, seen = arithmetic.Optimizer(config, network), []
    for factor in (1.0, 0.5, 0.5, 0.0):
        optimizer.set_factor(factor)
        arithmetic.set_gradient(weight, 1.0)
        optimizer.step()
        seen.append(weight.item())
    assert seen == pytest.approx([0.4, 0.35, 0.3, 0.3])


SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "momentum": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "optimizer_args": {"momentum": 0.9, "nesterov": True},
    },
    "adam": {"optimizer": "adam", "learning_rate": 0.02, "optimizer_args": {"amsgrad": True}},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.02},
    "muon": {"optimizer": "muon", "learning_rate": 0.02},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_without_a_gradient_nothing_moves(arithmetic: Any, name: str) -> None:
    network = arithmetic.layered()
    optimizer = arithmetic.Optimizer(ModelConfig(weight_decay=0.1, **SETTINGS[name]), network)
    for _ in range(2):  # the second time there is momentum
        before = arithmetic.weights(network)
        some = {"3.weight": np.ones((8, 8, 3, 3)), "8.bias": np.ones(3)}
        arithmetic.set_gradients(network, some)
        optimizer.step()
        optimizer.clear_grad()
        assert arithmetic.gradients(network) == {}
        after = arithmetic.weights(network)
        assert {weight for weight in before if not np.array_equal(before[weight], after[weight])} == set(some)
    optimizer.step()
    assert all(np.array_equal(after[weight], value) for weight, value in arithmetic.weights(network).items())


def learn(arithmetic: Any, network: Any, optimizer: Any, seeds: Iterable[int]) -> list[float]:
    """Take a step for each seed, on pictures that depend on it alone; the losses."""
    config, data = ModelConfig(loss="cross_entropy"), DataConfig()
    loss_of, losses = arithmetic.build_loss(config, data), []
    for seed in seeds:
        images = np.random.default_rng(seed).normal(size=(24, 1, 6, 6))
        labels = (images[:, 0, :3].sum(axis=(1, 2)) > 0).astype(np.int64)
        loss = loss_of(network(arithmetic.tensor(images)), arithmetic.tensor(labels))
        optimizer.clear_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", SETTINGS)
def test_every_optimizer_learns_a_small_problem(arithmetic: Any, name: str) -> None:
    network = arithmetic.layered()
    start = np.random.default_rng(0)
    drawn = {key: start.normal(size=value.shape) for key, value in arithmetic.weights(network).items()}
    arithmetic.set_weights(network, {key: value / np.sqrt(value[0].size) for key, value in drawn.items()})
    optimizer = arithmetic.Optimizer(ModelConfig(weight_decay=0.0, **SETTINGS[name]), network)
    losses = learn(arithmetic, network, optimizer, [0] * 40)
    assert losses[0] > 0.5 and losses[-1] < 0.2


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_goes_on_bit_for_bit_from_a_saved_state(arithmetic: Any, name: str) -> None:
    config = ModelConfig(weight_decay=0.1, **SETTINGS[name])
    whole = arithmetic.layered()
    start = arithmetic.weights(whole)

    def half(network: Any, values: dict[str, NDArray[Any]], saved: Any, steps: range) -> Any:
        arithmetic.set_weights(network, values)
        optimizer = arithmetic.Optimizer(config, network)
        if saved is not None:
            optimizer.restore(saved)  # before the first step
        optimizer.set_factor(0.5)
        learn(arithmetic, network, optimizer, steps)
        return optimizer.saved()

    half(whole, start, None, range(6))
    first, second = arithmetic.layered(), arithmetic.layered()
    saved = half(first, start, None, range(3))
    half(second, arithmetic.weights(first), saved, range(3, 6))
    for weight, value in arithmetic.weights(whole).items():
        assert np.array_equal(arithmetic.weights(second)[weight], value), weight


def test_the_state_of_another_optimizer_is_refused(arithmetic: Any) -> None:
    small, large = (arithmetic.sequential(*[arithmetic.linear(2, 2) for _ in range(count)]) for count in (1, 2))
    saved = arithmetic.Optimizer(ModelConfig(), small).saved()
    with pytest.raises(ValueError, match="optimizer"):
        arithmetic.Optimizer(ModelConfig(), large).restore(saved)
