"""Normalisation, backbone and head in one module, so that training and serving can't disagree about preprocessing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """From raw pictures to class scores.

    Args:
        backbone: Maps normalised images, float [batch, channel, height, width], to features [batch, feature].
        head: Maps features to logits [batch, class].
        mean: Mean of each channel, 0 to 1.
        std: Standard deviation of each channel, 0 to 1.
        channels_last: Keep activations as [batch, height, width, channel] in memory.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, backbone: nn.Module, head: nn.Module, *, mean: Sequence[float], std: Sequence[float], channels_last: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        # (x / 255 - mean) / std as one multiplication and one addition; made from the settings, not from checkpoints.
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)), persistent=False)  # [channel]
        self.register_buffer("shift", -torch.tensor(mean) / torch.tensor(std), persistent=False)
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
        """uint8 [batch, height, width, channel] → float [batch, feature]."""
        features: Tensor = self.backbone(self.normalize(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [batch, height, width, channel] → logits, float [batch, class]."""
        logits: Tensor = self.head(self.features(images))
        return logits


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
