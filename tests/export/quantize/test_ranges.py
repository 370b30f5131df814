from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.errors import ExportError
from mlstack.export.quantize import feeding, ranges
from mlstack.export.quantize.layers import find_layers, nodes_outside
from mlstack.export.quantize.prepare import prepare
from mlstack.export.quantize.ranges import BINS, activation_ranges, entropy_range, percentile_range

Outputs = list[NDArray[np.float32]]


def histogram(values: NDArray[np.float64], ends: tuple[float, float]) -> NDArray[np.int64]:
    return np.histogram(values, BINS, ends)[0]


def test_minmax_covers_every_value(network: Any) -> None:
    model = prepare(network.path)
    found = activation_ranges(model, ["a", "b"], network.calibration, method="minmax")
    assert found["a"][0] < 0 < found["a"][1]
    assert found["b"] == (0.0, found["a"][1])  # after ReLU


def test_percentile_cuts_off_outliers() -> None:
    values = np.append(np.random.default_rng(0).uniform(-1, 2, 200_000), [-50.0, 100.0])
    lower, upper = percentile_range(histogram(values, (-50.0, 100.0)), (-50.0, 100.0))
    assert (lower, upper) == (pytest.approx(-1, abs=0.15), pytest.approx(2, abs=0.15))


def test_entropy_cuts_off_outliers_and_keeps_what_is_full() -> None:
    generator = np.random.default_rng(0)
    even = generator.uniform(0, 1, 200_000)
    assert entropy_range(histogram(even, (0.0, 1.0)), (0.0, 1.0)) == (0.0, pytest.approx(1, abs=0.05))
    normal = np.abs(np.append(generator.standard_normal(200_000), [40.0]))
    assert entropy_range(histogram(normal, (0.0, 40.0)), (0.0, 40.0))[1] < 10
    lower, upper = entropy_range(histogram(normal, (0.0, 40.0)), (-40.0, 5.0))
    assert -10 < lower < 0 < upper <= 5


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_a_tensor_that_is_always_zero_has_a_range(method: str, build: Any) -> None:
    network = build()
    black = np.zeros_like(network.calibration)
    found = activation_ranges(prepare(network.path), ["a", "b"], black, method=method)
    assert all(np.isfinite(ends).all() and ends[0] <= ends[1] for ends in found.values())


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_only_one_batch_of_activations_is_in_memory(network: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[NDArray[np.float32]]] = []
    sizes: list[int] = []

    def watched(model: Any, images: NDArray[np.uint8]) -> Iterator[Outputs]:
        for outputs in feeding.answers(model, images):
            sizes.append(sum(one.nbytes for one in outputs))
            alive.extend(weakref.ref(one) for one in outputs)
            del outputs[2:]  # nothing here: the list itself is handed on
            yield outputs
            assert sum(reference() is not None for reference in alive) <= len(outputs)

    model = prepare(network.path)
    one_picture = 2 * 16 * 8 * 8 * 4  # bytes of the two tensors
    monkeypatch.setattr(feeding, "ACTIVATION_BYTES", 5 * one_picture)
    monkeypatch.setattr(ranges, "answers", watched)
    activation_ranges(model, ["a", "c"], network.calibration, method=method)
    assert max(sizes) == 5 * one_picture


def test_a_network_that_computes_infinity_is_refused(build: Any) -> None:
    network = build(outlier=2e38)
    with pytest.raises(ExportError, match="NaN or infinity"):
        activation_ranges(prepare(network.path), ["a"], network.calibration, method="minmax")


def test_a_layer_takes_what_follows_it_along(network: Any) -> None:
    layers = find_layers(prepare(network.path).graph)
    nodes = {layer.name: layer.nodes[1:] for layer in layers}
    assert nodes == {
        "conv_first": ("relu_first",),
        "conv_second": ("relu_second",),
        "conv_third": ("add", "relu_third", "pool", "node_Reshape_0"),
        "linear": (),
    }
    assert [layer.name for layer in layers if layer.is_head] == ["linear"]


def test_before_the_first_and_after_the_last_layer_lie_normalisation_and_softmax(network: Any) -> None:
    outside = nodes_outside(prepare(network.path).graph)
    assert {name.split("/")[0] for name in outside} == {"preprocess", "answer"}
