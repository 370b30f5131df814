"""Backbones from paddle.vision, from this package and from the user."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from paddle import Tensor, nn
from paddle.vision import models

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError
from mlstack.models.paddle.efficientnet import EFFICIENTNETS
from mlstack.models.paddle.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from mlstack.models.paddle.pretrained import load_pretrained
from mlstack.models.paddle.resnet import use_small_stem
from mlstack.models.paddle.starts import kaiming_normal, kaiming_uniform, normal, start_as_torch, start_with
from mlstack.models.paddle.surgery import fit_input_channels, take_head
from mlstack.utils.target import import_target

# What paddle.vision lacks or names otherwise.
WRITTEN_HERE: dict[str, Callable[..., nn.Layer]] = {
    **EFFICIENTNETS,
    "mobilenet_v3_large": mobilenet_v3_large,
    "mobilenet_v3_small": mobilenet_v3_small,
}

_fan_out, _fan_in = (partial(kaiming_normal, fan_out=fan_out) for fan_out in (True, False))
# torchvision's start of each family that paddle.vision has too. The others (googlenet, inception_v3, mobilenet_v1) keep
# Paddle's: torchvision's for them is made for its own batch norms.
STARTS: dict[str, Callable[[nn.Layer], None]] = {
    "resnet": partial(start_with, convolution=_fan_out),
    "resnext": partial(start_with, convolution=_fan_out),
    "wide_resnet": partial(start_with, convolution=_fan_out),
    "vgg": partial(start_with, convolution=_fan_out, linear=partial(normal, deviation=0.01)),
    "mobilenet_v2": partial(start_with, convolution=_fan_out, linear=partial(normal, deviation=0.01)),
    "densenet": partial(start_with, convolution=_fan_in),
    "squeezenet": partial(start_with, convolution=kaiming_uniform),
    "alexnet": start_as_torch,
    "shufflenet": start_as_torch,
}


def library_backbone(config: ModelConfig, *, channels: int, image_size: int) -> tuple[nn.Layer, int]:
    """A network of paddle.vision or of this package without its head, and its number of features."""
    build = WRITTEN_HERE.get(config.name) or getattr(models, config.name)
    try:
        network = build(**config.args)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            f"model.name={config.name} can't be made for images of {image_size}×{image_size}: {first_line(error)}",
            key="model.name",
            hint="look at data.image_size (224 suits every network) and model.args",
        ) from error
    for family, start in STARTS.items():
        if config.name.startswith(family):
            start(network)
    if config.pretrained:
        load_pretrained(network, config.name)
    fit_input_channels(network, channels)
    use_small_stem(network, config.stem, image_size)
    if isinstance(network, models.SqueezeNet):  # its head is a convolution
        network._conv9 = nn.Identity()
        return Flat(network), 512
    if isinstance(network, models.GoogLeNet):
        return _without_auxiliary_heads(network), 1024
    features = take_head(network)
    assert features is not None, config.name
    return network, features


class Flat(nn.Layer):
    """The first answer of a network, float [batch, feature, 1, 1] or [batch, feature] → [batch, feature]."""

    def __init__(self, network: nn.Layer) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        answer = self.network(images)
        return (answer[0] if isinstance(answer, tuple) else answer).flatten(1)


def _without_auxiliary_heads(network: Any) -> nn.Layer:
    """GoogLeNet's features. Its two auxiliary heads help only very long ImageNet runs; it can't be built without."""
    for part in ("_fc_out", "_pool_o1", "_conv_o1", "_fc_o1", "_drop_o1", "_out1"):
        setattr(network, part, nn.Identity())
    for part in ("_pool_o2", "_conv_o2", "_fc_o2", "_drop_o2", "_out2"):
        setattr(network, part, nn.Identity())
    return Flat(network)


def own_network(config: ModelConfig, *, num_classes: int, channels: int, image_size: int) -> nn.Layer:
    """The network that `model.target` (module:callable) makes; it returns logits [batch, class].

    Raises:
        ConfigError: The target can't be imported, refuses its arguments or returns something else.
    """
    build = import_target(config.target or "", key="model.target")
    arguments = {"num_classes": num_classes, "in_channels": channels, "image_size": image_size, **config.args}
    try:
        network = build(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"model.target={config.target}: {first_line(error)}",
            key="model.target",
            hint=f"it is called with {', '.join(arguments)}",
        ) from error
    if not isinstance(network, nn.Layer):
        kind = type(network).__name__
        raise ConfigError(f"model.target={config.target} returned {kind}, not a paddle.nn.Layer", key="model.target")
    return network


def first_line(error: Exception) -> str:
    """What an error says first; in Paddle's own ones that may come after empty lines."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
