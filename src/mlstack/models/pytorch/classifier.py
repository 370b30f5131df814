"""Normalisation, backbone and head in one module, so that training and serving can't disagree about preprocessing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """From raw pictures to class scores, or to the numbers of a regression.

    Args:
        backbone: Maps normalised images, float [batch, channel, height, width], to features [batch, feature].
        head: Maps features to logits [batch, class]; of a regression, to standardised targets [batch, target].
        mean: Mean of each channel, 0 to 1.
        std: Standard deviation of each channel, 0 to 1.
        channels_last: Keep activations as [batch, height, width, channel] in memory.
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
        backbone: nn.Module,
        head: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        channels_last: bool,
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
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        # (x / 255 - mean) / std as one multiplication and one addition; made from the settings, not from checkpoints.
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)), persistent=False)  # [channel]
        self.register_buffer("shift", -torch.tensor(mean) / torch.tensor(std), persistent=False)
        for name, values in (("target_mean", target_mean), ("target_std", target_std)):
            self.register_buffer(name, None if values is None else torch.tensor(values), persistent=False)  # [target]
        self.to(memory_format=self.memory_format)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [batch, height, width, channel] → float [batch, channel, height, width], mean 0, deviation 1."""
        batch, height, width, channels = images.shape
        rows = images.to(self.scale.dtype, memory_format=torch.contiguous_format).view(batch, height, width * channels)
        # Whole rows at a time: [channel] broadcast over [width, channel] would be loops of three.
        normalized = rows.mul_(self.scale.repeat(width)).add_(self.shift.repeat(width))
        pixels = normalized.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return pixels.contiguous(memory_format=self.memory_format)

    def features(self, images: Tensor) -> Tensor:
        """uint8 [batch, height, width, channel] → what `encode` returns."""
        return self.encode(self.normalize(images))

    def encode(self, pixels: Tensor) -> Tensor:
        """What `normalize` returns → float [batch, feature]; with `test_time_flip` the mean of two."""
        if self.test_time_flip and not self.training:
            # Of features and not of probabilities: with a linear head that is the mean of the logits, so this stays
            # a network from images to logits whatever the task, and runs the head once.
            both: Tensor = self.backbone(torch.cat([pixels, pixels.flip(3)]))
            return both.view(2, pixels.shape[0], *both.shape[1:]).mean(dim=0)  # [2, batch, feature] → [batch, feature]
        features: Tensor = self.backbone(pixels)
        return features

    def answer(self, features: Tensor) -> Tensor:
        """float [batch, feature] → logits, float [batch, class]; of a regression, targets in their own units."""
        answers: Tensor = self.head(self.dropout(features))
        if self.target_mean is None or self.target_std is None:
            return answers
        return answers * self.target_std + self.target_mean

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [batch, height, width, channel] → what `answer` returns."""
        return self.answer(self.features(images))


class FrozenBackbone(nn.Module):
    """A backbone that neither learns nor moves its batch-norm statistics: always in evaluation mode, no gradients."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FrozenBackbone:
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """float [batch, channel, height, width] → float [batch, feature]."""
        with torch.no_grad():
            features: Tensor = self.backbone(images)
        return features
