"""EfficientNet B0 to B7 (https://arxiv.org/abs/1905.11946), as torchvision builds them, names included.

paddle.vision has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from paddle import Tensor, nn

from mlstack.models.paddle.blocks import (
    ConvNormActivation,
    MobileNetwork,
    Norm,
    SqueezeExcitation,
    StochasticDepth,
    divisible_by_8,
)
from mlstack.models.paddle.starts import uniform


class Stage(NamedTuple):
    """A row of the paper's table 1: how much wider within, kernel, stride, channels before and after, blocks."""

    expansion: int
    kernel: int
    stride: int
    inputs: int
    outputs: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 32, 16, 1),
    Stage(6, 3, 2, 16, 24, 2),
    Stage(6, 5, 2, 24, 40, 2),
    Stage(6, 3, 2, 40, 80, 3),
    Stage(6, 5, 1, 80, 112, 3),
    Stage(6, 5, 2, 112, 192, 4),
    Stage(6, 3, 1, 192, 320, 1),
)
# torchvision's norm of B5 to B7: eps 0.001, momentum 0.01; Paddle counts the share of the old statistics
LARGE_NORM = partial(nn.BatchNorm2D, epsilon=1e-3, momentum=0.99)


class MBConv(nn.Layer):
    """Expand, filter each channel, squeeze and excite, project; around it a shortcut where the shapes allow one."""

    def __init__(self, stage: Stage, *, drop_chance: float, norm: Norm) -> None:
        super().__init__()
        expanded = divisible_by_8(stage.inputs * stage.expansion)
        layers: list[nn.Layer] = []
        if expanded != stage.inputs:
            layers.append(ConvNormActivation(stage.inputs, expanded, 1, norm=norm, activation=nn.Silu))
        layers.append(
            ConvNormActivation(
                expanded,
                expanded,
                stage.kernel,
                norm=norm,
                activation=nn.Silu,
                stride=stage.stride,
                groups=expanded,
            )
        )
        squeezed = max(1, stage.inputs // 4)
        layers.append(SqueezeExcitation(expanded, squeezed, activation=nn.Silu, scale_activation=nn.Sigmoid))
        layers.append(ConvNormActivation(expanded, stage.outputs, 1, norm=norm, activation=None))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(drop_chance)
        self.has_shortcut = stage.stride == 1 and stage.inputs == stage.outputs

    def forward(self, images: Tensor) -> Tensor:
        branch = self.block(images)
        return self.stochastic_depth(branch) + images if self.has_shortcut else branch


def _efficientnet(
    *,
    width: float,
    depth: float,
    dropout: float,
    norm: Norm = nn.BatchNorm2D,
    num_classes: int = 1000,
    stochastic_depth_prob: float = 0.2,
) -> nn.Layer:
    """A network `width` times as wide and `depth` times as deep as B0; the last two arguments are torchvision's."""
    stages = [
        stage._replace(
            inputs=divisible_by_8(stage.inputs * width),
            outputs=divisible_by_8(stage.outputs * width),
            blocks=math.ceil(stage.blocks * depth),
        )
        for stage in STAGES
    ]
    total, built = sum(stage.blocks for stage in stages), 0
    layers: list[nn.Layer] = [
        ConvNormActivation(3, stages[0].inputs, 3, norm=norm, activation=nn.Silu, stride=2),
    ]
    for stage in stages:
        blocks: list[nn.Layer] = []
        for _ in range(stage.blocks):
            row = stage._replace(inputs=stage.outputs, stride=1) if blocks else stage
            blocks.append(MBConv(row, drop_chance=stochastic_depth_prob * built / total, norm=norm))
            built += 1
        layers.append(nn.Sequential(*blocks))
    last = 4 * stages[-1].outputs
    layers.append(ConvNormActivation(stages[-1].outputs, last, 1, norm=norm, activation=nn.Silu))
    classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
    return MobileNetwork(
        nn.Sequential(*layers), classifier, linear=lambda weight: uniform(weight, 1 / math.sqrt(weight.shape[1]))
    )


EFFICIENTNETS: dict[str, Callable[..., nn.Layer]] = {
    "efficientnet_b0": partial(_efficientnet, width=1.0, depth=1.0, dropout=0.2),
    "efficientnet_b1": partial(_efficientnet, width=1.0, depth=1.1, dropout=0.2),
    "efficientnet_b2": partial(_efficientnet, width=1.1, depth=1.2, dropout=0.3),
    "efficientnet_b3": partial(_efficientnet, width=1.2, depth=1.4, dropout=0.3),
    "efficientnet_b4": partial(_efficientnet, width=1.4, depth=1.8, dropout=0.4),
    "efficientnet_b5": partial(_efficientnet, width=1.6, depth=2.2, dropout=0.4, norm=LARGE_NORM),
    "efficientnet_b6": partial(_efficientnet, width=1.8, depth=2.6, dropout=0.5, norm=LARGE_NORM),
    "efficientnet_b7": partial(_efficientnet, width=2.0, depth=3.1, dropout=0.5, norm=LARGE_NORM),
}
