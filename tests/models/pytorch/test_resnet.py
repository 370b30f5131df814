from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.models.pytorch import build_classifier

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
@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18"])
def test_a_resnet_has_the_small_stem_exactly_when_the_settings_say_so(
    name: str, stem: str, size: int, is_small: bool
) -> None:
    with torch.device("meta"):
        resnet = build_classifier(ModelConfig(name=name, stem=stem), images_of(size, 3)).backbone
    assert isinstance(resnet.conv1, nn.Conv2d)
    assert (resnet.conv1.kernel_size, resnet.conv1.stride) == (((3, 3), (1, 1)) if is_small else ((7, 7), (2, 2)))
    assert isinstance(resnet.maxpool, nn.Identity if is_small else nn.MaxPool2d)


def test_networks_that_are_no_resnets_keep_their_stem() -> None:
    with torch.device("meta"):
        network = build_classifier(ModelConfig(name="mobilenet_v3_small", stem="small"), images_of(32, 3)).backbone
    assert network.features[0][0].stride == (2, 2)  # type: ignore[index]
