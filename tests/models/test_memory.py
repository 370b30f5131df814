from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlstack.config import ModelConfig

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework


def steps(layers: Any, model: ModelConfig, number: int = 1) -> tuple[list[float], Any]:
    """The losses of a few training steps without an optimizer, and the network; its gradients are summed."""
    layers.seed(0)
    classifier = layers.build_classifier(model, images_of(16, 3))
    losses = []
    for _ in range(number):
        layers.seed(1)  # of dropout
        images, labels = layers.tensor(pictures(4, 16, 3)), layers.tensor(np.arange(4))
        loss = layers.cross_entropy(classifier(images), labels)
        loss.backward()
        losses.append(loss.item())
    return losses, classifier


@pytest.mark.parametrize("name", ["small_cnn", "mobilenet_v3_small", "efficientnet_b0"])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients_nor_statistics(layers: Any, name: str) -> None:
    dropout = 0.3 if name == "mobilenet_v3_small" else None  # efficientnet_b0 drops branches, too
    expected, plain = steps(layers, ModelConfig(name=name, dropout=dropout))
    losses, saving = steps(layers, ModelConfig(name=name, dropout=dropout, gradient_checkpointing=True))
    assert losses == pytest.approx(expected, abs=1e-6)
    ours = layers.gradients(saving)
    for key, gradient in layers.gradients(plain).items():
        assert (gradient is None) == (ours[key] is None), key
        if gradient is not None:
            np.testing.assert_allclose(ours[key], gradient, rtol=1e-4, atol=1e-5, err_msg=key)
    statistics = layers.statistics(saving)
    for key, value in layers.statistics(plain).items():
        np.testing.assert_allclose(statistics[key], value, rtol=1e-6, atol=1e-6, err_msg=key)


def test_each_block_of_a_network_is_one_that_is_recomputed(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="mobilenet_v3_small"), images_of(8, 1))
    assert layers.memory.checkpoint_gradients(classifier.backbone) == 13 + 1  # of features and of the classifier


def test_the_setting_recomputes_activations_in_the_backward_pass(layers: Any) -> None:
    calls: list[int] = []
    model = ModelConfig(name="mobilenet_v3_small", gradient_checkpointing=True)
    classifier = layers.build_classifier(model, images_of(8, 1))
    layers.count_calls(classifier.backbone.features[3], calls)
    layers.count_calls(classifier.backbone.features[3].block[0], calls)
    images = layers.tensor(pictures(2, 8, 1))
    classifier.train()
    classifier(images).sum().backward()
    assert len(calls) == 3  # the block once, what lies in it twice
    calls.clear()
    classifier.eval()
    classifier(images).sum().backward()
    assert len(calls) == 2


def test_a_frozen_network_is_not_recomputed(layers: Any) -> None:
    model = ModelConfig(name="small_cnn", gradient_checkpointing=True, freeze_backbone=True)
    classifier = layers.build_classifier(model, images_of(8, 1))
    calls: list[int] = []
    layers.count_calls(classifier.backbone.backbone[0][0], calls)
    classifier(layers.tensor(pictures(2, 8, 1))).sum().backward()
    assert len(calls) == 1
