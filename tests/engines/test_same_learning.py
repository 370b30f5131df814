"""Every two engines learn alike: from the same weights, the same batches lead to the same weights."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.config import DataConfig, ModelConfig
from mlstack.config.trainer import ENGINES

pytestmark = [
    pytest.mark.framework,
    pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ENGINES, 2))),
]

STEPS = 20

# Momenta and decays are sums of few powers of 2: Paddle's kernels take them in float32, even for weights in float64.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.01, "optimizer_args": {"momentum": 0.875}},
    "nesterov": {"optimizer": "sgd", "learning_rate": 0.01, "optimizer_args": {"momentum": 0.875, "nesterov": True}},
    # eps is above the noise of float32, which Adam would blow up where a gradient is nearly 0.
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "optimizer_args": {"eps": 1e-4}},
    "amsgrad": {"optimizer": "adam", "learning_rate": 0.01, "optimizer_args": {"amsgrad": True, "eps": 1e-4}},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "optimizer_args": {"betas": [0.8, 0.95], "eps": 1e-4}},
    "muon": {"optimizer": "muon", "learning_rate": 0.01, "optimizer_args": {"rest_learning_rate": 0.003, "eps": 1e-4}},
}
LOSSES: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "smoothed": {"loss_args": {"label_smoothing": 0.1}},
    "weighted": {"loss_args": {"class_weights": [1.0, 2.0, 5.0], "label_smoothing": 0.1}},
    "soft": {"loss_args": {"class_weights": [1.0, 2.0, 5.0]}},
    "focal": {"loss": "focal", "loss_args": {"gamma": 1.5, "alpha": [1.0, 2.0, 5.0]}},
    "bce": {"loss": "bce", "loss_args": {"pos_weight": [1.0, 2.0, 5.0]}},
    "mse": {"loss": "mse"},
    "mae": {"loss": "mae"},
    "huber": {"loss": "huber", "loss_args": {"delta": 0.5}},
}
WITH_SHARES = ("soft", "bce")  # their labels are rows of numbers from 0 to 1
WITH_NUMBERS = ("mse", "mae", "huber")


def start_of(arithmetic: Any, dtype: str) -> dict[str, NDArray[Any]]:
    draw = np.random.default_rng(0)
    weights = arithmetic.weights(arithmetic.layered(dtype))
    drawn = {name: draw.normal(size=value.shape) / np.sqrt(value[0].size) for name, value in weights.items()}
    return {name: value.astype(dtype) for name, value in drawn.items()}


def labels_of(name: str, draw: np.random.Generator) -> NDArray[Any]:
    if name in WITH_NUMBERS:
        return draw.normal(size=(8, 3))
    if name in WITH_SHARES:
        shares = draw.uniform(size=(8, 3))
        return shares / shares.sum(axis=1, keepdims=True)
    return draw.integers(3, size=8)


def learned(engine: str, loss: str, model: ModelConfig, start: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The weights after some steps on pictures of noise."""
    arithmetic = importlib.import_module(f"arithmetic_{engine}")
    dtype = str(next(iter(start.values())).dtype)
    network = arithmetic.layered(dtype)
    arithmetic.set_weights(network, start)
    loss_of = arithmetic.build_loss(model, DataConfig(classes=["a", "b", "c"], target_std=[1.0, 2.0, 0.5]))
    optimizer = arithmetic.Optimizer(model, network)
    draw = np.random.default_rng(1)
    for step in range(STEPS):
        images, labels = draw.normal(size=(8, 1, 6, 6)), labels_of(loss, draw)
        exact = arithmetic.tensor(labels, dtype if labels.dtype.kind == "f" else None)
        optimizer.set_factor(1 - step / (2 * STEPS))
        optimizer.clear_grad()
        loss_of(network(arithmetic.tensor(images, dtype)), exact).backward()
        optimizer.step()
    weights: dict[str, NDArray[Any]] = arithmetic.weights(network)
    return weights


def assert_same(first: str, second: str, loss: str, model: ModelConfig, dtype: str, tolerance: float) -> None:
    start = start_of(importlib.import_module(f"arithmetic_{first}"), dtype)
    one, other = (learned(engine, loss, model, start) for engine in (first, second))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype == dtype
        assert not np.array_equal(value, start[name])
        assert abs(value - other[name]).max() < tolerance, name


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_every_optimizer(first: str, second: str, name: str, dtype: str, tolerance: float) -> None:
    model = ModelConfig(loss="cross_entropy", weight_decay=0.125, **OPTIMIZERS[name])
    assert_same(first, second, "cross_entropy", model, dtype, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
@pytest.mark.parametrize("name", LOSSES)
def test_with_every_loss(first: str, second: str, name: str, dtype: str, tolerance: float) -> None:
    settings: dict[str, Any] = {"loss": "cross_entropy", **LOSSES[name]}
    model = ModelConfig(**settings, optimizer="sgd", learning_rate=0.02, weight_decay=0.125)
    assert_same(first, second, name, model, dtype, tolerance)
