from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.framework


@pytest.fixture
def arithmetic(engine: str) -> Any:
    return importlib.import_module(f"arithmetic_{engine}")


def shift(arithmetic: Any, network: Any, by: float) -> None:
    arithmetic.set_weights(network, {name: value + by for name, value in arithmetic.weights(network).items()})


def read(tensors: Any) -> dict[str, Any]:
    return {name: tensor.numpy().copy() for name, tensor in tensors.items()}


def test_an_update_moves_the_average_by_the_share_that_decay_leaves(arithmetic: Any) -> None:
    network = arithmetic.linear(3, 2)
    average = arithmetic.WeightAverage(network, 0.75)
    start = read(average.state_dict())
    shift(arithmetic, network, 1.0)
    average.update(100)
    for name, value in read(average.state_dict()).items():
        assert np.allclose(value, start[name] + 0.25, atol=1e-6), name
    # in the first steps the decay is (1 + step) / (10 + step): 2 / 11
    shift(arithmetic, network, -0.75)
    average.update(1)
    for name, value in read(average.state_dict()).items():
        assert np.allclose(value, start[name] + 0.25, atol=1e-6), name
    shift(arithmetic, network, 1.0)
    average.update(1)
    for name, value in read(average.state_dict()).items():
        assert np.allclose(value, start[name] + 0.25 + 9 / 11, atol=1e-6), name


def test_statistics_of_batch_norm_are_averaged_too(arithmetic: Any) -> None:
    network = arithmetic.layered()
    average = arithmetic.WeightAverage(network, 0.5)
    start = read(network.state_dict())
    network(arithmetic.tensor(5 + np.random.default_rng(0).normal(size=(4, 1, 6, 6))))
    average.update(100)
    moved = {name for name, value in read(network.state_dict()).items() if not np.array_equal(value, start[name])}
    averaged, live = read(average.state_dict()), read(network.state_dict())
    assert len({name for name in moved if "mean" in name or "var" in name}) == 2
    for name in moved:
        expected = (start[name] + live[name]) / 2 if live[name].dtype.kind == "f" else live[name]
        assert np.allclose(averaged[name], expected, atol=1e-6), name


def test_swapping_exchanges_weights_and_average_in_place_and_back(arithmetic: Any) -> None:
    network = arithmetic.layered()
    average = arithmetic.WeightAverage(network, 0.5)
    shift(arithmetic, network, 1.0)
    where = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    live, kept = read(network.state_dict()), read(average.state_dict())
    average.swap()
    assert average.swapped
    assert all(np.array_equal(value, kept[name]) for name, value in read(network.state_dict()).items())
    average.swap()
    assert not average.swapped
    assert all(np.array_equal(value, live[name]) for name, value in read(network.state_dict()).items())
    assert all(np.array_equal(value, kept[name]) for name, value in read(average.state_dict()).items())
    assert where == {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}


def test_the_average_goes_on_from_its_state(arithmetic: Any) -> None:
    first, second = arithmetic.layered(), arithmetic.layered()
    average = arithmetic.WeightAverage(first, 0.5)
    shift(arithmetic, first, 1.0)
    average.update(100)
    other = arithmetic.WeightAverage(second, 0.5)
    other.load_state_dict({name: arithmetic.copied(tensor) for name, tensor in average.state_dict().items()})
    arithmetic.set_weights(second, arithmetic.weights(first))
    for one in (average, other):
        one.update(100)
    expected = read(average.state_dict())
    for name, value in read(other.state_dict()).items():
        assert np.array_equal(value, expected[name]), name


def test_the_weights_go_on_learning_after_a_swap(arithmetic: Any) -> None:
    network = arithmetic.linear(2, 1)
    average = arithmetic.WeightAverage(network, 0.5)
    average.swap()
    average.swap()
    network(arithmetic.tensor([[1.0, 2.0]])).sum().backward()
    assert arithmetic.gradients(network)["weight"].tolist() == [[1.0, 2.0]]
