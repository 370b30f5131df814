from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError

from .conftest import images_of, numbers, pictures

pytestmark = pytest.mark.framework

SMALL = ModelConfig(name="small_cnn")


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3)])
def test_it_scores_images_of_many_sizes(layers: Any, size: int, channels: int) -> None:
    classifier = layers.build_classifier(SMALL, images_of(size, channels))
    assert tuple(classifier(layers.tensor(pictures(2, size, channels))).shape) == (2, 10)


def test_images_below_8_pixels_are_refused(layers: Any) -> None:
    with pytest.raises(ConfigError, match="small_cnn can't take images of 7×7") as caught:
        layers.build_classifier(SMALL, images_of(7, 1))
    assert caught.value.key == "data.image_size"


def test_the_width_is_that_of_the_first_block_and_a_quarter_of_the_features(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="small_cnn", args={"width": 5}), images_of(28, 1))
    convolutions = [layer for layer in layers.modules(classifier) if isinstance(layer, layers.Convolution)]
    shapes = [tuple(layer.weight.shape)[:2] for layer in convolutions]
    assert shapes == [(5, 1), (5, 5), (10, 5), (10, 10), (20, 10), (20, 20)]
    assert tuple(classifier.features(layers.tensor(pictures(2, 28, 1))).shape) == (2, 20)


@pytest.mark.parametrize("args", [{"depth": 3}, {"width": 0}, {"width": 2.5}, {"width": "16"}, {"width": True}])
def test_other_arguments_are_refused_with_what_to_type(layers: Any, args: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"does not fit model.name=small_cnn") as caught:
        layers.build_classifier(ModelConfig(name="small_cnn", args=args), images_of(28, 1))
    assert caught.value.key == "model.args"
    assert "model.args.width=" in caught.value.hint


def test_the_largest_value_of_each_channel_is_scaled_to_a_ninth(layers: Any) -> None:
    classifier = layers.build_classifier(SMALL, images_of(28, 1))
    classifier.eval()
    images = layers.tensor(numbers(2, 1, 28, 28))
    with layers.no_gradients():
        blocks = layers.array(classifier.backbone[:3](images))
        answers = layers.array(classifier.backbone(images))
    np.testing.assert_allclose(answers, blocks.max(axis=(2, 3)) / 9, rtol=1e-6)


def test_only_the_shift_of_a_batch_norm_learns(layers: Any) -> None:
    classifier = layers.build_classifier(SMALL, images_of(28, 1))
    norms = [layer for layer in layers.modules(classifier) if isinstance(layer, layers.BatchNorm)]
    assert len(norms) == 6
    assert [(layers.learns(norm.weight), layers.learns(norm.bias)) for norm in norms] == [(False, True)] * 6


def test_running_statistics_take_four_tenths_of_each_batch(layers: Any) -> None:
    norm = layers.build_classifier(SMALL, images_of(28, 1)).backbone[0][2]
    images = numbers(4, 16, 5, 5) + 3
    norm(layers.tensor(images))
    mean = next(value for name, value in layers.statistics(norm).items() if "mean" in name)
    np.testing.assert_allclose(mean, 0.4 * images.mean(axis=(0, 2, 3)), rtol=1e-5)


def test_it_learns_to_tell_light_pictures_from_dark_ones(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="small_cnn", args={"width": 4}), images_of(8, 1, classes=2))
    labels = np.arange(32) % 2
    images = pictures(32, 8, 1) // 2 + 127 * labels[:, None, None, None].astype(np.uint8)
    optimizer = layers.adam(classifier, 0.02)
    losses = []
    for _ in range(60):
        loss = layers.cross_entropy(classifier(layers.tensor(images)), layers.tensor(labels))
        layers.clear_gradients(classifier)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
