"""Normalisation, backbone and head in one module, so that training and serving can't disagree about preprocessing."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn


class Classifier(nn.Layer):
    """From raw pictures to class scores, or to the numbers of a regression.

    Args:
        backbone: Maps normalised images, float [batch, channel, height, width], to features [batch, feature].
        head: Maps features to logits [batch, class]; of a regression, to standardised targets [batch, target].
        mean: Mean of each channel, 0 to 1.
        std: Standard deviation of each channel, 0 to 1.
        target_mean: Of a regression: the mean of each target, in its own units.
        target_std: Of a regression: the standard deviation of each target. Both, or neither.
        dropout: Chance of dropping a feature before the head while training.
        test_time_flip: Answer with the mean for a picture and its mirror image when not training, at twice the cost.
    """

    scale: Tensor
    shift: Tensor
    target_mean: Tensor | None
    target_std: Tensor | None

    def __init__(
        self,
        backbone: nn.Layer,
        head: nn.Layer,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        target_mean: Sequence[float] | None = None,
        target_std: Sequence[float] | None = None,
        dropout: float = 0.0,
        test_time_flip: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = head
        self.test_time_flip = test_time_flip
        # (x / 255 - mean) / std as one multiplication and one addition; made from the settings, not from checkpoints.
        self.register_buffer("scale", 1 / (255 * paddle.to_tensor(list(std))), persistable=False)  # [channel]
        self.register_buffer("shift", -paddle.to_tensor(list(mean)) / paddle.to_tensor(list(std)), persistable=False)
        for name, values in (("target_mean", target_mean), ("target_std", target_std)):
            buffer = None if values is None else paddle.to_tensor(list(values))  # [target]
            self.register_buffer(name, buffer, persistable=False)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [batch, height, width, channel] → float [batch, channel, height, width], mean 0, deviation 1."""
        _, height, width, channels = images.shape
        rows = images.astype(self.scale.dtype).reshape([-1, height, width * channels])
        # Whole rows at a time: [channel] broadcast over [width, channel] would be loops of three.
        normalized = rows * self.scale.tile([width]) + self.shift.tile([width])
        return normalized.reshape([-1, height, width, channels]).transpose([0, 3, 1, 2])

    def features(self, images: Tensor) -> Tensor:
        """uint8 [batch, height, width, channel] → what `encode` returns."""
        return self.encode(self.normalize(images))

    def encode(self, pixels: Tensor) -> Tensor:
        """What `normalize` returns → float [batch, feature]; with `test_time_flip` the mean of two."""
        if self.test_time_flip and not self.training:
            # Of features and not of probabilities: with a linear head that is the mean of the logits, so this stays
            # a network from images to logits whatever the task, and runs the head once.
            both = self.backbone(paddle.concat([pixels, pixels.flip(3)]))
            return both.reshape([2, -1, *both.shape[1:]]).mean(axis=0)  # [2, batch, feature] → [batch, feature]
        return self.backbone(pixels)

    def answer(self, features: Tensor) -> Tensor:
        """float [batch, feature] → logits, float [batch, class]; of a regression, targets in their own units."""
        answers = self.head(self.dropout(features))
        if self.target_mean is None or self.target_std is None:
            return answers
        return answers * self.target_std + self.target_mean

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [batch, height, width, channel] → what `answer` returns."""
        return self.answer(self.features(images))


class FrozenBackbone(nn.Layer):
    """A backbone that neither learns nor moves its batch-norm statistics: always in evaluation mode, no gradients."""

    def __init__(self, backbone: nn.Layer) -> None:
        super().__init__()
        for parameter in backbone.parameters():
            parameter.stop_gradient = True
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """float [batch, channel, height, width] → float [batch, feature]."""
        # Here and not in `train`: a Paddle layer sets the mode of all that lies below it, without asking each one. And
        # not by `eval`, which also switches Paddle as a whole to evaluation.
        for layer in self.backbone.sublayers(include_self=True):
            layer.training = False
        with paddle.no_grad():
            return self.backbone(images)
