from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError
from mlstack.models.catalog import OWN_NETWORKS
from mlstack.models.pytorch import build_classifier

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("name", sorted(OWN_NETWORKS))
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3)])
def test_each_network_of_this_package_scores_images_of_many_sizes(name: str, size: int, channels: int) -> None:
    classifier = build_classifier(ModelConfig(name=name), images_of(size, channels))
    assert classifier(pictures(2, size, channels)).shape == (2, 10)


def test_images_below_8_pixels_are_refused() -> None:
    with pytest.raises(ConfigError, match="small_cnn can't take images of 7×7") as caught:
        build_classifier(ModelConfig(name="small_cnn"), images_of(7, 1))
    assert caught.value.key == "data.image_size"


def test_the_width_is_that_of_the_first_block_and_a_quarter_of_the_features() -> None:
    classifier = build_classifier(ModelConfig(name="small_cnn", args={"width": 5}), images_of(28, 1))
    shapes = [tuple(layer.weight.shape[:2]) for layer in classifier.modules() if isinstance(layer, nn.Conv2d)]
    assert shapes == [(5, 1), (5, 5), (10, 5), (10, 10), (20, 10), (20, 20)]
    assert classifier.features(pictures(2, 28, 1)).shape == (2, 20)


@pytest.mark.parametrize("args", [{"depth": 3}, {"width": 0}, {"width": 2.5}, {"width": "16"}, {"width": True}])
def test_other_arguments_are_refused_with_what_to_type(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"does not fit model.name=small_cnn") as caught:
        build_classifier(ModelConfig(name="small_cnn", args=args), images_of(28, 1))
    assert caught.value.key == "model.args"
    assert "model.args.width=" in caught.value.hint


def test_the_largest_value_of_each_channel_is_scaled_to_a_ninth() -> None:
    backbone = build_classifier(ModelConfig(name="small_cnn"), images_of(28, 1)).eval().backbone
    images = torch.randn(2, 1, 28, 28)
    with torch.inference_mode():
        blocks = backbone[:3](images)  # type: ignore[index]
        torch.testing.assert_close(backbone(images), blocks.amax(dim=(2, 3)) / 9)


def test_only_the_shift_of_a_batch_norm_learns() -> None:
    classifier = build_classifier(ModelConfig(name="small_cnn"), images_of(28, 1))
    norms = [layer for layer in classifier.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert [(norm.weight.requires_grad, norm.bias.requires_grad) for norm in norms] == [(False, True)] * 6


def test_it_learns_to_tell_light_pictures_from_dark_ones() -> None:
    classifier = build_classifier(ModelConfig(name="small_cnn", args={"width": 4}), images_of(8, 1, classes=2))
    labels = torch.arange(32) % 2
    images = pictures(32, 8, 1) // 2 + 127 * labels[:, None, None, None].to(torch.uint8)
    learning = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=0.02)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(classifier(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
