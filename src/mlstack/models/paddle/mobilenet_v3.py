"""MobileNetV3 (https://arxiv.org/abs/1905.02244), as torchvision builds it, names included.

paddle.vision has the same network under other names, and its pretrained weights fit this one: the layers come in the
same order (`pretrained.py`).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from paddle import Tensor, nn

from mlstack.models.paddle.blocks import ConvNormActivation, MobileNetwork, SqueezeExcitation, divisible_by_8
from mlstack.models.paddle.starts import normal

NORM = partial(nn.BatchNorm2D, epsilon=1e-3, momentum=0.99)  # torchvision's: eps 0.001, momentum 0.01


class Block(NamedTuple):
    """A row of the paper's tables 1 and 2: channels before, within and after; kernel; squeeze, hard-swish, stride."""

    inputs: int
    kernel: int
    expanded: int
    outputs: int
    squeezes: bool
    hard_swish: bool
    stride: int
    dilation: int = 1


def mobilenet_v3_large(
    *,
    num_classes: int = 1000,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    dilated: bool = False,
    dropout: float = 0.2,
) -> nn.Layer:
    """Table 1 of the paper; the arguments are torchvision's."""
    tail, dilation = 2 if reduced_tail else 1, 2 if dilated else 1
    blocks = [
        Block(16, 3, 16, 16, False, False, 1),
        Block(16, 3, 64, 24, False, False, 2),
        Block(24, 3, 72, 24, False, False, 1),
        Block(24, 5, 72, 40, True, False, 2),
        Block(40, 5, 120, 40, True, False, 1),
        Block(40, 5, 120, 40, True, False, 1),
        Block(40, 3, 240, 80, False, True, 2),
        Block(80, 3, 200, 80, False, True, 1),
        Block(80, 3, 184, 80, False, True, 1),
        Block(80, 3, 184, 80, False, True, 1),
        Block(80, 3, 480, 112, True, True, 1),
        Block(112, 3, 672, 112, True, True, 1),
        Block(112, 5, 672, 160 // tail, True, True, 2, dilation),
        Block(160 // tail, 5, 960 // tail, 160 // tail, True, True, 1, dilation),
        Block(160 // tail, 5, 960 // tail, 160 // tail, True, True, 1, dilation),
    ]
    return _network(blocks, 1280 // tail, num_classes=num_classes, width=width_mult, dropout=dropout)


def mobilenet_v3_small(
    *,
    num_classes: int = 1000,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    dilated: bool = False,
    dropout: float = 0.2,
) -> nn.Layer:
    """Table 2 of the paper; the arguments are torchvision's."""
    tail, dilation = 2 if reduced_tail else 1, 2 if dilated else 1
    blocks = [
        Block(16, 3, 16, 16, True, False, 2),
        Block(16, 3, 72, 24, False, False, 2),
        Block(24, 3, 88, 24, False, False, 1),
        Block(24, 5, 96, 40, True, True, 2),
        Block(40, 5, 240, 40, True, True, 1),
        Block(40, 5, 240, 40, True, True, 1),
        Block(40, 5, 120, 48, True, True, 1),
        Block(48, 5, 144, 48, True, True, 1),
        Block(48, 5, 288, 96 // tail, True, True, 2, dilation),
        Block(96 // tail, 5, 576 // tail, 96 // tail, True, True, 1, dilation),
        Block(96 // tail, 5, 576 // tail, 96 // tail, True, True, 1, dilation),
    ]
    return _network(blocks, 1024 // tail, num_classes=num_classes, width=width_mult, dropout=dropout)


class InvertedResidual(nn.Layer):
    """Expand, filter each channel, squeeze and excite, project; around it a shortcut where the shapes allow one."""

    def __init__(self, block: Block, *, width: float) -> None:
        super().__init__()
        inputs, expanded, outputs = (
            divisible_by_8(channels * width) for channels in (block.inputs, block.expanded, block.outputs)
        )
        activation = nn.Hardswish if block.hard_swish else nn.ReLU
        layers: list[nn.Layer] = []
        if expanded != inputs:
            layers.append(ConvNormActivation(inputs, expanded, 1, norm=NORM, activation=activation))
        stride = 1 if block.dilation > 1 else block.stride
        layers.append(
            ConvNormActivation(
                expanded,
                expanded,
                block.kernel,
                norm=NORM,
                activation=activation,
                stride=stride,
                groups=expanded,
                dilation=block.dilation,
            )
        )
        if block.squeezes:
            squeezed = divisible_by_8(expanded // 4)
            layers.append(SqueezeExcitation(expanded, squeezed, activation=nn.ReLU, scale_activation=nn.Hardsigmoid))
        layers.append(ConvNormActivation(expanded, outputs, 1, norm=NORM, activation=None))
        self.block = nn.Sequential(*layers)
        self.has_shortcut = block.stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        branch = self.block(images)
        return branch + images if self.has_shortcut else branch


def _network(blocks: list[Block], last: int, *, num_classes: int, width: float, dropout: float) -> nn.Layer:
    first, before_last = divisible_by_8(blocks[0].inputs * width), divisible_by_8(blocks[-1].outputs * width)
    features = nn.Sequential(
        ConvNormActivation(3, first, 3, norm=NORM, activation=nn.Hardswish, stride=2),
        *(InvertedResidual(block, width=width) for block in blocks),
        ConvNormActivation(before_last, 6 * before_last, 1, norm=NORM, activation=nn.Hardswish),
    )
    last = divisible_by_8(last * width)
    classifier = nn.Sequential(
        nn.Linear(6 * before_last, last), nn.Hardswish(), nn.Dropout(dropout), nn.Linear(last, num_classes)
    )
    return MobileNetwork(features, classifier, linear=lambda weight: normal(weight, 0.01))
