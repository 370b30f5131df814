"""A first layer that whitens patches of the training images and does not learn (https://arxiv.org/abs/2404.00498).

Its filters are the eigenvectors of the covariance of patches, each divided by the root of its eigenvalue, and each with
both signs: after ReLU nothing is lost. Deviations from the paper:

- Patches are 3×3 and padded with the mean colour, so that the image keeps its size and any network can follow; the
  paper's are 2×2, not padded.
- The weakest patterns are left out, so that the channels are a multiple of 16: 16 of 18 for grey images, 48 of 54 for
  colour.
- ReLU follows, not GELU; it is cheaper.
- No bias; the paper's learns for the first three epochs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlstack.errors import ConfigError
from mlstack.models.pytorch.classifier import Classifier

PATCH = 3  # pixels
BLOCK = 16  # channels that convolution kernels take at a time: 16 cost 0.75 × as much as 18 in the layer that follows
EPSILON = 5e-4  # the paper's: added to the eigenvalues, for patterns that hardly occur
FLOATS_AT_ONCE = 2**22  # in patches: 48 MiB, as float32 and as float64


class Whitened(nn.Module):
    """A network behind a whitening layer.

    Args:
        network: Its first convolution on `channels` channels is made to take the whitening layer's.
        channels: Of the images.

    Raises:
        ConfigError: The network has no such convolution.
    """

    def __init__(self, network: nn.Module, *, channels: int) -> None:
        super().__init__()
        size = channels * PATCH**2
        filters = 2 * size // BLOCK * BLOCK
        self.whitening = nn.Conv2d(channels, filters, PATCH, padding=PATCH // 2, bias=False)
        self.whitening.weight.requires_grad_(False)
        self.set_filters(torch.eye(size))  # until `whiten` or a checkpoint brings the real ones
        self.activation = nn.ReLU()
        widen_input(network, channels, filters)
        self.network = network

    @torch.no_grad()
    def set_filters(self, filters: Tensor) -> None:
        """Take the first of filters [n, channel · height · width], as many as find room, and their opposites."""
        filters = filters[: len(self.whitening.weight) // 2]
        self.whitening.weight.copy_(torch.cat([filters, -filters]).view_as(self.whitening.weight))

    def forward(self, images: Tensor) -> Tensor:
        """float [batch, channel, height, width] → what the network makes of whitened ones, 16 channels for each."""
        answer: Tensor = self.network(self.activation(self.whitening(images)))
        return answer


def widen_input(network: nn.Module, channels: int, wide: int) -> None:
    """Make the first convolution on `channels` channels anew, for `wide` of them.

    Raises:
        ConfigError: There is none.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == channels and layer.groups == 1:
            layer.in_channels = wide
            layer.weight = nn.Parameter(layer.weight.new_empty(layer.out_channels, wide, *layer.kernel_size))
            layer.reset_parameters()
            return
    raise ConfigError(
        f"model.whitening=true: this network has no convolution that could follow (one on {channels} channels)",
        key="model.whitening",
        hint="type model.whitening=false, or choose another model",
    )


@torch.no_grad()
def whiten(classifier: Classifier, images: Tensor) -> None:
    """Give a new classifier's whitening layer its filters; without such a layer nothing happens.

    Args:
        classifier: As `build_classifier` made it, on any device.
        images: Training images, uint8 [n, height, width, channel]; some thousand are enough (the paper: 5,000).
    """
    for module in classifier.modules():
        if isinstance(module, Whitened):
            values, vectors = torch.linalg.eigh(_patch_covariance(classifier, images))  # a vector is a column
            module.set_filters(
                (vectors / (values.clamp_min(0) + EPSILON).sqrt()).T.flip(0)
            )  # the largest value comes first


def _patch_covariance(classifier: Classifier, images: Tensor) -> Tensor:
    """Covariance of the numbers in a patch of normalised images: float64 [size, size], size = channel · 3 · 3."""
    size = images.shape[3] * PATCH**2
    count, total, products = 0, torch.zeros(size).double(), torch.zeros(size, size).double()
    step = max(1, FLOATS_AT_ONCE // (PATCH**2 * images[0].numel()))
    for start in range(0, len(images), step):
        part = images[start : start + step]
        pixels = classifier.normalize(part.to(classifier.scale.device)).cpu()
        patches = nn.functional.unfold(pixels, PATCH)  # [n, size, place]
        rows = patches.transpose(1, 2).reshape(-1, size).double()
        count += len(rows)
        total += rows.sum(dim=0)
        products += rows.T @ rows
    mean = total / count
    return products / count - mean.outer(mean)
