from __future__ import annotations

from typing import Any

import pytest

from mlstack.config import ModelConfig

from .conftest import images_of

pytestmark = pytest.mark.framework


@pytest.mark.parametrize(
    ("stem", "size", "is_small"),
    [
        ("auto", 32, True),
        ("auto", 64, True),
        ("auto", 65, False),
        ("small", 96, True),
        ("standard", 32, False),
    ],
)
def test_a_resnet_has_the_small_stem_exactly_when_the_settings_say_so(
    layers: Any, stem: str, size: int, is_small: bool
) -> None:
    with layers.without_numbers():
        resnet = layers.build_classifier(ModelConfig(name="resnet18", stem=stem), images_of(size, 3)).backbone
    assert isinstance(resnet.conv1, layers.Convolution)
    assert layers.geometry(resnet.conv1) == ((3, 1) if is_small else (7, 2))
    assert isinstance(resnet.maxpool, layers.Identity if is_small else layers.MaxPool)


def test_networks_that_are_no_resnets_keep_their_stem(layers: Any) -> None:
    with layers.without_numbers():
        model = ModelConfig(name="mobilenet_v3_small", stem="small")
        network = layers.build_classifier(model, images_of(32, 3)).backbone
    assert layers.geometry(network.features[0][0]) == (3, 2)
