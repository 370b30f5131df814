from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlstack.config import ModelConfig, PruneConfig

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework

HALF = PruneConfig(ratio=0.5, method="unstructured")


def share_of_zeros(layers: Any, weight: Any) -> float:
    return float((layers.array(weight) == 0).mean())


def test_half_of_each_layer_becomes_0_but_of_the_head_and_of_what_does_not_learn(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="small_cnn", whitening=True), images_of(8, 1))
    before = layers.state(classifier)
    layers.sparsity.clear_weights(classifier, HALF, seed=0)
    after = layers.state(classifier)
    convolutions = [name for name in before if before[name].ndim == 4]
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {name for name in convolutions if "whitening" not in name}
    for name in changed:
        assert (after[name] == 0).mean() == pytest.approx(0.5, abs=0.01)
        kept = after[name] != 0
        np.testing.assert_array_equal(after[name][kept], before[name][kept])
        assert np.abs(before[name][kept]).min() >= np.abs(before[name][~kept]).max()


def test_a_step_of_an_optimizer_leaves_zeros_where_they_are_and_moves_the_others(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="small_cnn", args={"width": 4}), images_of(8, 1))
    layers.sparsity.clear_weights(classifier, HALF, seed=0)
    weights = layers.sparsity.prunable_weights(classifier)
    before = [layers.array(weight) for weight in weights]
    optimizer = layers.adam(classifier, 0.01)
    loss = layers.cross_entropy(classifier(layers.tensor(pictures(8, 8, 1))), layers.tensor(np.arange(8)))
    loss.backward()
    with layers.sparsity.zeros_held(weights):
        optimizer.step()
    for weight, old in zip(weights, before, strict=True):
        new = layers.array(weight)
        np.testing.assert_array_equal(new == 0, old == 0)
        assert not np.array_equal(new, old)
