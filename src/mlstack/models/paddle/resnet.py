"""ResNet (https://arxiv.org/abs/1512.03385), with the stem that small images need.

The paper's stem (7×7, stride 2, then a 3×3 max-pool, stride 2) leaves 8×8 of a 32×32 image before the first block. For
small images the paper itself (section 4.2) starts with one 3×3 convolution at stride 1: that is the `small` stem here.
"""

from __future__ import annotations

from typing import Any

from paddle import nn

from mlstack.models.paddle.starts import kaiming_normal

SMALL_IMAGE = 64  # pixels; from here up the standard stem leaves at least 16×16


def use_small_stem(network: Any, stem: str, image_size: int) -> None:
    """Give a ResNet of paddle.vision the small stem, if `stem` asks for it (`auto`: up to 64 pixels)."""
    is_resnet = type(network).__name__ == "ResNet" and isinstance(getattr(network, "conv1", None), nn.Conv2D)
    if not is_resnet or stem == "standard" or (stem == "auto" and image_size > SMALL_IMAGE):
        return
    old = network.conv1
    network.conv1 = nn.Conv2D(old._in_channels, old._out_channels, 3, stride=1, padding=1, bias_attr=False)
    kaiming_normal(network.conv1.weight, fan_out=True)
    network.maxpool = nn.Identity()
