"""Backbones from torchvision, from timm and from the user."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError, DownloadError, MissingPackageError
from mlstack.models.catalog import TIMM_PREFIX
from mlstack.models.pytorch.resnet import use_small_stem
from mlstack.models.pytorch.surgery import fit_input_channels, take_head
from mlstack.utils.target import import_target

TORCHVISION_PIN = "torchvision==0.29.1"  # a network of one's own, small_cnn and timm do without it
# The auxiliary heads of these two help only very long ImageNet runs, and make `forward` return a tuple.
WITHOUT_AUXILIARY_HEADS = {"aux_logits": False, "init_weights": True, "transform_input": False}
EXTRA_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": WITHOUT_AUXILIARY_HEADS,
    "inception_v3": WITHOUT_AUXILIARY_HEADS,
}


def torchvision_backbone(config: ModelConfig, *, channels: int, image_size: int) -> tuple[nn.Module, int]:
    """A torchvision network without its head, and its number of features.

    Raises:
        ConfigError: It can't be made for these images or with these arguments.
        MissingPackageError: torchvision is not installed.
    """
    models = _torchvision_models(config.name)
    arguments = {**EXTRA_ARGUMENTS.get(config.name, {}), **config.args}
    if config.name.startswith("vit_"):
        arguments.setdefault("image_size", image_size)
    try:
        network = models.get_model(config.name, weights=None, **arguments)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            f"model.name={config.name} can't be made for images of {image_size}×{image_size}: {_first_line(error)}",
            key="model.name",
            hint="look at data.image_size (224 suits every network) and model.args",
        ) from error
    if config.pretrained:
        _load_torchvision_weights(models, network, config.name)
    fit_input_channels(network, channels)
    use_small_stem(network, config.stem, image_size)
    if isinstance(network, models.SqueezeNet):  # its head is a convolution
        network.classifier = nn.Sequential(nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return network, 512
    features = take_head(network)
    assert features is not None, config.name
    return network, features


def _torchvision_models(name: str) -> Any:
    try:
        from torchvision import models
    except ModuleNotFoundError as error:
        raise MissingPackageError(TORCHVISION_PIN, needed_for=f"model.name={name}") from error
    return models


def _load_torchvision_weights(models: Any, network: nn.Module, name: str) -> None:
    weights = models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, HTTPException, RuntimeError) as error:
        raise _no_weights(
            name, error, f"put {weights.url.rsplit('/', 1)[-1]} into {torch.hub.get_dir()}/checkpoints"
        ) from error
    known = network.state_dict()
    try:
        network.load_state_dict({key: value for key, value in state.items() if key in known})
    except RuntimeError as error:  # other shapes, or parts that the weights lack
        raise ConfigError(
            f"the pretrained weights of {name} don't fit: {str(error).splitlines()[-1].strip()}",
            key="model.pretrained",
            hint="they were made for ImageNet's 224 pixels and for the network without model.args",
        ) from error


def timm_backbone(config: ModelConfig, *, channels: int, image_size: int) -> tuple[nn.Module, int]:
    """A timm network without its head, and its number of features. `catalog.check_name` has seen that timm is there."""
    import timm  # optional package

    name = config.name.removeprefix(TIMM_PREFIX)
    arguments = {"num_classes": 0, "in_chans": channels, **config.args}
    if "vit" in name or "swin" in name or "mixer" in name:  # sizes that are fixed at construction
        arguments.setdefault("img_size", image_size)
    try:
        network = timm.create_model(name, pretrained=config.pretrained, **arguments)
    except (OSError, HTTPException) as error:
        raise _no_weights(config.name, error, "set HF_ENDPOINT to a mirror of the hub") from error
    except (TypeError, RuntimeError, ValueError) as error:
        raise ConfigError(f"model.name={config.name}: {_first_line(error)}", key="model.name") from error
    use_small_stem(network, config.stem, image_size)
    return network, int(network.num_features)  # type: ignore[arg-type]


def own_network(config: ModelConfig, *, num_classes: int, channels: int, image_size: int) -> nn.Module:
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
            f"model.target={config.target}: {_first_line(error)}",
            key="model.target",
            hint=f"it is called with {', '.join(arguments)}",
        ) from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise ConfigError(f"model.target={config.target} returned {kind}, not a torch.nn.Module", key="model.target")
    return network


def _no_weights(name: str, error: Exception, way_out: str) -> DownloadError:
    return DownloadError(
        f"the pretrained weights of {name} can't be downloaded: {_first_line(error)}",
        hint=f"train from scratch: model.pretrained=false\nor {way_out}",
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
