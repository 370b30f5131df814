from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError

from .conftest import images_of, own

pytestmark = pytest.mark.framework

SHIPPED = ("small_cnn", "resnet18", "efficientnet_b0", "mobilenet_v3_small")


def cloudy(number: int, size: int, channels: int) -> NDArray[np.uint8]:
    """uint8 [number, size, size, channels] whose neighbouring pixels are alike, as in photographs."""
    noise = np.random.default_rng(0).random((number, size + 4, size + 4, channels))
    smooth = sliding_window_view(noise, (5, 5), axis=(1, 2)).mean(axis=(-2, -1))
    return (255 * (smooth - smooth.min()) / (smooth.max() - smooth.min())).astype(np.uint8)


def whitened(layers: Any, name: str = "small_cnn", *, channels: int = 1, size: int = 28) -> Any:
    return layers.build_classifier(ModelConfig(name=name, whitening=True), images_of(size, channels))


def whiten(layers: Any, classifier: Any, images: NDArray[np.uint8]) -> None:
    layers.whiten(classifier, layers.tensor(images))


def responses(layers: Any, classifier: Any, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the filters answer to whole patches, without those at the border: [filter, place]."""
    answers = layers.array(classifier.backbone.whitening(classifier.normalize(layers.tensor(images))))
    inner: NDArray[np.float64] = answers[..., 1:-1, 1:-1].transpose(1, 0, 2, 3).astype(np.float64)
    return inner.reshape(len(inner), -1)


def norms(layers: Any, classifier: Any) -> NDArray[np.float64]:
    """The length of each filter."""
    weight = layers.array(classifier.backbone.whitening.weight)
    lengths: NDArray[np.float64] = np.linalg.norm(weight.reshape(len(weight), -1).astype(np.float64), axis=1)
    return lengths


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 24)])  # of 9 and 27 patterns: those that fill blocks of 16
def test_the_filters_make_patterns_of_a_patch_uncorrelated_and_equally_strong(
    layers: Any, channels: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers.whitening, "EPSILON", 1e-9)
    classifier, images = whitened(layers, channels=channels), cloudy(100, 28, channels)
    before = np.cov(responses(layers, classifier, images)[:size])
    assert len(before) == size
    assert before[0, 1] > 0.5 * before[0, 0]
    whiten(layers, classifier, images)
    after = responses(layers, classifier, images)
    assert len(after) == 2 * size
    np.testing.assert_allclose(np.cov(after[:size]), np.eye(size), rtol=0, atol=5e-3)  # of float32 filters
    np.testing.assert_allclose(after[size:], -after[:size], rtol=1e-5, atol=1e-5)


def test_the_weakest_pattern_is_the_one_left_out(layers: Any) -> None:
    classifier, images = whitened(layers), cloudy(100, 28, 1)
    whiten(layers, classifier, images)
    lengths = norms(layers, classifier)[:8]
    assert np.diff(lengths).min() > 0  # the strongest pattern needs the least scaling
    pixels = layers.array(classifier.normalize(layers.tensor(images)))[:, 0].astype(np.float64)
    patches = sliding_window_view(pixels, (3, 3), axis=(1, 2)).reshape(-1, 9)
    values = np.linalg.eigvalsh(np.cov(patches.T))[::-1]
    np.testing.assert_allclose(lengths, (values + layers.whitening.EPSILON)[:8] ** -0.5, rtol=1e-2)


def test_epsilon_keeps_a_filter_small_whose_pattern_never_occurs(layers: Any) -> None:
    classifier = whitened(layers)
    whiten(layers, classifier, np.full((10, 28, 28, 1), 7, np.uint8))  # nothing but one colour
    np.testing.assert_allclose(norms(layers, classifier), layers.whitening.EPSILON**-0.5, rtol=1e-3)


def test_images_are_looked_at_in_pieces_without_changing_the_filters(
    layers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = cloudy(10, 28, 1)
    found = []
    for floats in (layers.whitening.FLOATS_AT_ONCE, 3 * 28 * 28 * 9):
        monkeypatch.setattr(layers.whitening, "FLOATS_AT_ONCE", floats)
        classifier = whitened(layers)
        whiten(layers, classifier, images)
        found.append(abs(layers.array(classifier.backbone.whitening.weight)))
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", SHIPPED)
def test_any_network_with_a_first_convolution_can_follow(layers: Any, name: str) -> None:
    with layers.without_numbers():
        classifier = whitened(layers, name, channels=3, size=8)
        images = layers.tensor(np.zeros((2, 8, 8, 3), np.uint8))
        assert tuple(classifier(images).shape) == (2, 10)
    inner = layers.modules(classifier.backbone.network)
    first = next(layer for layer in inner if isinstance(layer, layers.Convolution))
    assert layers.input_channels(first) == 48
    assert first.weight.shape[1] == 48


def test_the_filters_do_not_learn_and_everything_else_does(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="mobilenet_v3_small", whitening=True), images_of(8, 1))
    for _ in range(2):
        parameters = layers.parameters(classifier)
        frozen = [name for name, parameter in parameters.items() if not layers.learns(parameter)]
        assert frozen == ["backbone.whitening.weight"]
        whiten(layers, classifier, cloudy(4, 8, 1))


def test_a_checkpoint_brings_the_filters_along(layers: Any) -> None:
    trained, fresh = whitened(layers), whitened(layers)
    images = cloudy(20, 28, 1)
    whiten(layers, trained, images)

    def answers(classifier: Any) -> NDArray[np.float32]:
        classifier.eval()
        found: NDArray[np.float32] = layers.array(classifier(layers.tensor(images)))
        return found

    assert not np.allclose(answers(trained), answers(fresh))
    layers.set_state(fresh, layers.state(trained))
    assert np.array_equal(answers(trained), answers(fresh))


def test_a_network_without_whitening_is_left_alone(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="small_cnn"), images_of(28, 1))
    before = layers.state(classifier)
    whiten(layers, classifier, cloudy(4, 28, 1))
    assert all(np.array_equal(value, before[name]) for name, value in layers.state(classifier).items())


def test_a_network_without_a_convolution_is_refused(layers: Any, engine: str) -> None:
    with pytest.raises(ConfigError, match="has no convolution that could follow") as caught:
        layers.build_classifier(own(engine, "scaled", whitening=True), images_of(8, 1))
    assert caught.value.key == "model.whitening"


def test_a_frozen_backbone_can_be_whitened_too(layers: Any, engine: str) -> None:
    classifier = layers.build_classifier(own(engine, "tiny", whitening=True, freeze_backbone=True), images_of(8, 1))
    whiten(layers, classifier, cloudy(20, 8, 1))
    filters = layers.state(classifier)["backbone.backbone.whitening.weight"]
    assert np.linalg.norm(filters) > 1.5 * 16**0.5  # no more the single pixels of an untrained layer
