from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.models.pytorch import build_classifier

from .conftest import images_of

pytestmark = pytest.mark.framework


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 224), ("timm/resnet10t", 32)])
def test_any_library_network_with_a_first_convolution_can_follow(name: str, size: int) -> None:
    with torch.device("meta"):
        classifier = build_classifier(ModelConfig(name=name, whitening=True), images_of(size, 3))
        assert classifier(torch.zeros(2, size, size, 3, dtype=torch.uint8)).shape == (2, 10)
        first = next(layer for layer in classifier.backbone.network.modules() if isinstance(layer, nn.Conv2d))  # type: ignore[union-attr]
        assert first.in_channels == 48
