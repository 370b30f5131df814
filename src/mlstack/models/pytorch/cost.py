"""What one picture costs: multiplications with additions in convolutions and linear layers, as papers count them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mlstack.models.pytorch.classifier import Classifier


@torch.no_grad()
def count_macs(classifier: Classifier, *, channels: int, size: int) -> int:
    """Multiply-accumulate operations for one picture of size × size pixels; a test-time flip counts once."""
    total = 0

    def count(layer: Any, _: Any, answer: Tensor) -> None:
        nonlocal total
        # A convolution's weight is [out, in / groups, height, width], a linear layer's [out, in].
        total += answer.numel() * layer.weight[0].numel()

    layers = [layer for layer in classifier.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = classifier.training
    images = classifier.scale.new_zeros(1, channels, size, size)
    try:
        classifier.eval()
        classifier.head(classifier.backbone(images))
    finally:
        classifier.train(training)
        for hook in hooks:
            hook.remove()
    return total


def count_parameters(classifier: Classifier) -> int:
    """All of them, trainable and frozen."""
    return sum(parameter.numel() for parameter in classifier.parameters())
