"""What one picture costs: multiplications with additions in convolutions and linear layers, as papers count them."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn

from mlstack.models.paddle.classifier import Classifier

STATISTICS = ("._mean", "._variance")  # of batch norm, which Paddle counts among the parameters


@paddle.no_grad()
def count_macs(classifier: Classifier, *, channels: int, size: int) -> int:
    """Multiply-accumulate operations for one picture of size × size pixels; a test-time flip counts once."""
    total = 0

    def count(layer: Any, _: Any, answer: Tensor) -> None:
        nonlocal total
        # A convolution's weight is [out, in / groups, height, width], a linear layer's [in, out].
        outputs = layer.weight.shape[0 if isinstance(layer, nn.Conv2D) else 1]
        total += int(answer.size) * int(layer.weight.size) // outputs

    layers = [layer for layer in classifier.sublayers() if isinstance(layer, nn.Conv2D | nn.Linear)]
    hooks = [layer.register_forward_post_hook(count) for layer in layers]
    training = classifier.training
    try:
        classifier.eval()
        classifier.head(classifier.backbone(paddle.zeros([1, channels, size, size], dtype=classifier.scale.dtype)))
    finally:
        classifier.train() if training else classifier.eval()
        for hook in hooks:
            hook.remove()
    return total


def count_parameters(classifier: Classifier) -> int:
    """All of them, trainable and frozen."""
    return sum(int(one.size) for name, one in classifier.named_parameters() if not name.endswith(STATISTICS))
