"""Single operations of both frameworks, forward and backward, on the shapes that `engines.py` trains with."""

from __future__ import annotations

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401  # before anything else imports Paddle

from collections.abc import Callable
from typing import Any

import paddle
import torch

from mlstack.config import DataConfig, ModelConfig
from mlstack.engines.lightning.optimizers import build_optimizer as torch_optimizer
from mlstack.engines.paddle.optimizers import build_optimizer as paddle_optimizer
from mlstack.models.paddle import build_classifier as paddle_classifier
from mlstack.models.pytorch import build_classifier as torch_classifier

# [batch, channel, height, width] → channels: what small_cnn has at batch 64 of 28 × 28, and resnet18 at 8 of 32 × 32.
CONVOLUTIONS = (((64, 1, 28, 28), 16), ((64, 16, 14, 14), 16), ((64, 32, 7, 7), 32), ((8, 64, 32, 32), 64))
FEATURES = (64, 16, 28, 28)  # after small_cnn's first convolution
SQUARE = 512

Timed = Callable[[], object]


def operations() -> dict[str, tuple[Timed, Timed]]:
    """Name → the same work in PyTorch and in Paddle."""
    found: dict[str, tuple[Timed, Timed]] = {}
    for shape, filters in CONVOLUTIONS:
        ours = paddle.nn.Conv2D(shape[1], filters, 3, padding=1, bias_attr=False)
        theirs = torch.nn.Conv2d(shape[1], filters, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
        found[f"convolution 3×3 {list(shape)} → {filters}"] = pair(theirs, ours, shape)
    square = (torch.randn(SQUARE, SQUARE), paddle.randn([SQUARE, SQUARE]))
    found[f"matrix product {SQUARE}³, forward"] = (lambda: square[0] @ square[0], lambda: square[1] @ square[1])
    channels = FEATURES[1]
    found[f"batch norm {list(FEATURES)}"] = pair(
        torch.nn.BatchNorm2d(channels), paddle.nn.BatchNorm2D(channels), FEATURES
    )
    found[f"ReLU {list(FEATURES)}"] = pair(torch.nn.ReLU(), paddle.nn.ReLU(), FEATURES)
    found[f"max-pool 2×2 {list(FEATURES)}"] = pair(torch.nn.MaxPool2d(2), paddle.nn.MaxPool2D(2), FEATURES)
    found["AdamW, one step of small_cnn"] = steps("small_cnn")
    found["AdamW, one step of resnet18"] = steps("resnet18")
    return found


def pair(theirs: torch.nn.Module, ours: Any, shape: tuple[int, ...]) -> tuple[Timed, Timed]:
    """Forward and backward through a layer of each framework."""
    torch_in = torch.randn(shape).to(memory_format=torch.channels_last).requires_grad_()
    paddle_in = paddle.randn(list(shape))
    paddle_in.stop_gradient = False

    def in_torch() -> None:
        theirs.zero_grad()
        torch_in.grad = None
        theirs(torch_in).sum().backward()

    def in_paddle() -> None:
        for tensor in (paddle_in, *ours.parameters()):
            tensor.clear_gradient(set_to_zero=False)
        ours(paddle_in).sum().backward()

    return in_torch, in_paddle


def steps(name: str) -> tuple[Timed, Timed]:
    """An optimizer's step alone, on the gradients of one small batch."""
    data = DataConfig(classes=list("0123456789"), image_size=32, channels=3, mean=[0.5] * 3, std=[0.25] * 3)
    config = ModelConfig(name=name)
    theirs, ours = torch_classifier(config, data), paddle_classifier(config, data)
    theirs(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).sum().backward()
    ours(paddle.zeros([2, 32, 32, 3], dtype="uint8")).sum().backward()
    return torch_optimizer(config, theirs, fused=True).step, paddle_optimizer(config, ours).step
