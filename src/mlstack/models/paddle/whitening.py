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

import paddle
from paddle import Tensor, nn

from mlstack.errors import ConfigError
from mlstack.models.paddle.classifier import Classifier
from mlstack.models.paddle.starts import start_as_torch
from mlstack.models.paddle.surgery import replace_input_channels

PATCH = 3  # pixels
BLOCK = 16  # channels that convolution kernels take at a time
EPSILON = 5e-4  # the paper's: added to the eigenvalues, for patterns that hardly occur
FLOATS_AT_ONCE = 2**22  # in patches: 48 MiB, as float32 and as float64


class Whitened(nn.Layer):
    """A network behind a whitening layer.

    Args:
        network: Its first convolution on `channels` channels is made to take the whitening layer's.
        channels: Of the images.

    Raises:
        ConfigError: The network has no such convolution.
    """

    def __init__(self, network: nn.Layer, *, channels: int) -> None:
        super().__init__()
        size = channels * PATCH**2
        filters = 2 * size // BLOCK * BLOCK
        self.whitening = nn.Conv2D(channels, filters, PATCH, padding=PATCH // 2, bias_attr=False)
        self.whitening.weight.stop_gradient = True
        self.set_filters(paddle.eye(size))  # until `whiten` or a checkpoint brings the real ones
        self.activation = nn.ReLU()
        widen_input(network, channels, filters)
        self.network = network

    @paddle.no_grad()
    def set_filters(self, filters: Tensor) -> None:
        """Take the first of filters [n, channel · height · width], as many as find room, and their opposites."""
        weight = self.whitening.weight
        filters = filters[: weight.shape[0] // 2].astype(weight.dtype)
        weight.set_value(paddle.concat([filters, -filters]).reshape(weight.shape))

    def forward(self, images: Tensor) -> Tensor:
        """float [batch, channel, height, width] → what the network makes of whitened ones, 16 channels for each."""
        return self.network(self.activation(self.whitening(images)))


def widen_input(network: nn.Layer, channels: int, wide: int) -> None:
    """Make the first convolution on `channels` channels anew, for `wide` of them.

    Raises:
        ConfigError: There is none.
    """
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, nn.Conv2D) and layer._in_channels == channels and layer._groups == 1:
            replace_input_channels(layer, wide)
            start_as_torch(layer)
            return
    raise ConfigError(
        f"model.whitening=true: this network has no convolution that could follow (one on {channels} channels)",
        key="model.whitening",
        hint="type model.whitening=false, or choose another model",
    )


@paddle.no_grad()
def whiten(classifier: Classifier, images: Tensor) -> None:
    """Give a new classifier's whitening layer its filters; without such a layer nothing happens.

    Args:
        classifier: As `build_classifier` made it, on any device.
        images: Training images, uint8 [n, height, width, channel]; some thousand are enough (the paper: 5,000).
    """
    for layer in classifier.sublayers():
        if isinstance(layer, Whitened):
            values, vectors = paddle.linalg.eigh(_patch_covariance(classifier, images))  # a vector is a column
            # the largest value comes first
            layer.set_filters((vectors / (values.clip(min=0) + EPSILON).sqrt()).T.flip(0))


def _patch_covariance(classifier: Classifier, images: Tensor) -> Tensor:
    """Covariance of the numbers in a patch of normalised images: float64 [size, size], size = channel · 3 · 3."""
    number, height, width, channels = images.shape
    size = channels * PATCH**2
    count, total = 0, paddle.zeros([size], dtype="float64")
    products = paddle.zeros([size, size], dtype="float64")
    step = max(1, FLOATS_AT_ONCE // (PATCH**2 * height * width * channels))
    for start in range(0, number, step):
        pixels = classifier.normalize(images[start : start + step].to(classifier.scale.place))
        patches = nn.functional.unfold(pixels, PATCH)  # [n, size, place]
        rows = patches.transpose([0, 2, 1]).reshape([-1, size]).astype("float64")
        count += rows.shape[0]
        total += rows.sum(axis=0)
        products += rows.T @ rows
    mean = total / count
    return products / count - paddle.outer(mean, mean)
