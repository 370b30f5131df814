"""A wide network takes the shapes of a narrow one's weights, and then is that narrow network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlstack.config import DataConfig, ModelConfig
from mlstack.models.weight_shapes import shapes_of

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework

# Batch norm and linear layers; depthwise convolutions and squeeze-and-excitation. (Half as wide, MobileNetV3 would have
# more shortcuts: some of its blocks then have as many channels before as after.)
WIDE = {
    "small_cnn": (ModelConfig(name="small_cnn"), {"width": 6}),
    "mobilenet_v3_small": (ModelConfig(name="mobilenet_v3_small"), {"width_mult": 0.75}),
}


def answers(layers: Any, classifier: Any, size: int) -> Any:
    classifier.eval()
    with layers.no_gradients():
        return layers.array(classifier(layers.tensor(pictures(3, size, 1))))


def assert_the_same(layers: Any, wide: ModelConfig, narrow: ModelConfig, data: DataConfig) -> None:
    assert data.image_size is not None
    expected = layers.build_classifier(narrow, data)
    state = layers.state(expected)
    taken = layers.build_classifier(wide, data, shapes=shapes_of(state))
    assert {name: value.shape for name, value in layers.state(taken).items()} == {
        name: value.shape for name, value in state.items()
    }
    layers.set_state(taken, state)
    np.testing.assert_array_equal(answers(layers, taken, data.image_size), answers(layers, expected, data.image_size))
    learning = [{name: layers.learns(one) for name, one in layers.parameters(net).items()} for net in (taken, expected)]
    assert learning[0] == learning[1]
    costs = [layers.cost.count_macs(network, channels=1, size=data.image_size) for network in (taken, expected)]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("name", WIDE)
def test_a_wide_network_is_the_narrow_one_whose_weights_come_in(layers: Any, name: str) -> None:
    wide, arguments = WIDE[name]
    assert_the_same(layers, wide, replace(wide, args=arguments), images_of(32, 1))


def test_a_whitening_layer_stays_and_what_follows_it_is_cut(layers: Any) -> None:
    wide = ModelConfig(name="small_cnn", whitening=True)
    assert_the_same(layers, wide, replace(wide, args={"width": 6}), images_of(8, 1))


def test_names_with_and_without_a_frozen_backbone_are_the_same(layers: Any) -> None:
    data = images_of(8, 1)
    narrow = layers.build_classifier(ModelConfig(name="small_cnn", args={"width": 6}), data)
    frozen = ModelConfig(name="small_cnn", freeze_backbone=True)
    taken = layers.build_classifier(frozen, data, shapes=shapes_of(layers.state(narrow)))
    assert shapes_of(layers.state(taken)) == shapes_of(layers.state(narrow))


def test_the_answers_are_as_many_as_the_data_have_classes(layers: Any) -> None:
    narrow = layers.build_classifier(ModelConfig(name="small_cnn", args={"width": 6}), images_of(8, 1))
    shapes = shapes_of(layers.state(narrow))
    taken = layers.build_classifier(ModelConfig(name="small_cnn"), images_of(8, 1, classes=3), shapes=shapes)
    assert answers(layers, taken, 8).shape == (3, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda shapes: shapes.popitem(), "it lacks head"),
        (lambda shapes: shapes.update({"backbone.0.0.weight": (17, 1, 3, 3)}), r"\[17, 1, 3, 3\], not \[16, 1, 3, 3\]"),
        (lambda shapes: shapes.update({"backbone.0.0.weight": (8, 1, 5, 5)}), r"\[8, 1, 5, 5\], not \[16, 1, 3, 3\]"),
        (lambda shapes: shapes.update({"backbone.0.0.weight": (8, 9)}), r"\[8, 9\], not \[16, 1, 3, 3\]"),
    ],
)
def test_weights_of_another_network_are_named(layers: Any, change: Any, reason: str) -> None:
    small = ModelConfig(name="small_cnn")
    shapes = shapes_of(layers.state(layers.build_classifier(small, images_of(8, 1))))
    change(shapes)
    with pytest.raises(ValueError, match=f"of another network: .*{reason}"):
        layers.build_classifier(small, images_of(8, 1), shapes=shapes)
