from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import pictures

pytestmark = pytest.mark.framework

GREY: dict[str, Any] = {"mean": [0.5], "std": [0.25]}


def test_images_are_normalised_inside_the_network(layers: Any) -> None:
    mean, std = [0.5, 0.4, 0.3], [0.25, 0.2, 0.5]
    classifier = plain(layers, layers.Identity(), layers.Identity(), mean=mean, std=std)
    images = pictures(2, 4, 3)
    expected = (images / 255 - np.array(mean)) / np.array(std)
    normal = layers.array(classifier.normalize(layers.tensor(images)))
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal, expected.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)


def plain(layers: Any, backbone: Any, head: Any, **settings: Any) -> Any:
    """A classifier; PyTorch's also wants to know how its activations lie in memory."""
    memory = {"channels_last": False} if layers.__name__ == "layers_lightning" else {}
    return layers.Classifier(backbone, head, **(GREY | settings), **memory)


def test_one_pixel_is_normalised_as_worked_out_by_hand(layers: Any) -> None:
    classifier = plain(layers, layers.Identity(), layers.Identity())
    image = np.full((1, 1, 1, 1), 51, np.uint8)  # 51 / 255 = 0.2; (0.2 - 0.5) / 0.25 = -1.2
    assert classifier.normalize(layers.tensor(image)).item() == pytest.approx(-1.2)


def test_normalisation_is_rebuilt_from_the_settings_not_from_checkpoints(layers: Any) -> None:
    classifier = plain(layers, layers.Linear(2, 2), layers.Identity())
    assert set(layers.state(classifier)) == {"backbone.weight", "backbone.bias"}


def test_the_answers_of_a_regression_are_in_the_targets_own_units(layers: Any) -> None:
    head = layers.Linear(4, 2)
    units = {"target_mean": [100.0, -3.0], "target_std": [10.0, 0.5]}
    classifier = plain(layers, layers.Flatten(), head, **units)
    images = layers.tensor(pictures(3, 2, 1))
    standardised = layers.array(head(classifier.features(images)))
    expected = standardised * [10.0, 0.5] + [100.0, -3.0]
    np.testing.assert_allclose(layers.array(classifier(images)), expected, rtol=1e-5)
    assert set(layers.state(classifier)) == {"head.weight", "head.bias"}


def flipping(layers: Any, *, test_time_flip: bool = True) -> Any:
    """A network that sees left from right."""
    layers.seed(0)
    backbone = layers.Sequential(layers.Flatten(), layers.Linear(16, 5), layers.ReLU())
    classifier = plain(layers, backbone, layers.Linear(5, 3), test_time_flip=test_time_flip)
    classifier.eval()
    return classifier


def test_with_test_time_flip_a_picture_and_its_mirror_image_get_the_mean_of_both_answers(layers: Any) -> None:
    flips, once, pixels = flipping(layers), flipping(layers, test_time_flip=False), pictures(4, 4, 1)
    images, mirrored = layers.tensor(pixels), layers.tensor(pixels[:, :, ::-1].copy())

    def answers(ask: Any, images: Any) -> Any:
        return layers.array(ask(images))

    def close(one: Any, other: Any) -> bool:
        return bool(np.allclose(one, other, rtol=1e-4, atol=1e-5))

    assert not close(answers(once, images), answers(once, mirrored))
    assert close(answers(flips, images), (answers(once, images) + answers(once, mirrored)) / 2)
    assert close(answers(flips, images), answers(flips, mirrored))
    features = (answers(once.features, images) + answers(once.features, mirrored)) / 2
    assert close(answers(flips.features, images), features)
    assert np.array_equal(answers(flips.head, flips.features(images)), answers(flips, images))


def test_test_time_flip_changes_nothing_while_training(layers: Any) -> None:
    images = layers.tensor(pictures(4, 4, 1))
    answers = []
    for flips in (True, False):
        classifier = flipping(layers, test_time_flip=flips)
        classifier.train()
        answers.append(layers.array(classifier(images)))
    np.testing.assert_array_equal(*answers)


def test_dropout_acts_on_the_features_and_only_while_training(layers: Any) -> None:
    dropping = plain(layers, layers.Flatten(), layers.Identity(), dropout=0.5)
    images = layers.tensor(np.full((1, 20, 20, 1), 255, np.uint8))
    dropping.eval()
    np.testing.assert_array_equal(layers.array(dropping(images)), layers.array(dropping.features(images)))
    dropping.train()
    values = set(layers.array(dropping(images)).flatten().tolist())
    assert values == {0.0, 4.0}  # 2 or nothing, doubled
