"""From settings to a network that fits the data."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mlstack.config import DataConfig, ModelConfig
from mlstack.errors import ConfigError
from mlstack.models.catalog import TIMM_PREFIX, check_name
from mlstack.models.pytorch.classifier import Classifier, FrozenBackbone
from mlstack.models.pytorch.libraries import own_network, timm_backbone, torchvision_backbone
from mlstack.models.pytorch.memory import checkpoint_gradients
from mlstack.models.pytorch.narrowing import take_shapes
from mlstack.models.pytorch.small_cnn import small_cnn
from mlstack.models.pytorch.starts import set_dropout, start_as_identity
from mlstack.models.pytorch.surgery import set_module, take_head
from mlstack.models.pytorch.whitening import Whitened
from mlstack.models.weight_shapes import Shape


def build_classifier(
    config: ModelConfig, data: DataConfig, *, channels_last: bool = True, shapes: Mapping[str, Shape] | None = None
) -> Classifier:
    """The network of a run, its weights drawn from torch's global generator.

    Args:
        config: The `model` settings.
        data: The `data` settings with their derived values filled in (classes, image_size, channels, mean, std; of a
            regression also target_mean and target_std).
        channels_last: Keep activations as [batch, height, width, channel] in memory.
        shapes: From `shapes_of`: those of weights that will come in and have lost channels; None = the full width.

    Raises:
        ConfigError: Unknown architecture, or one that can't take these images, or settings that don't fit it.
        DownloadError: The pretrained weights can't be had.
        MissingPackageError: A timm name, and timm is not installed.
        ValueError: `shapes` are those of another network.
    """
    if not data.classes or not data.image_size or not data.channels or data.mean is None or data.std is None:
        raise ValueError("data settings must be complete: see mlstack.datasets.complete")
    num_classes, channels, size = len(data.classes), data.channels, data.image_size
    _check_start(config)
    backbone, head = _parts(config, num_classes, channels=channels, size=size)
    dropout = _dropout(config, backbone, head)
    if config.gradient_checkpointing:
        checkpoint_gradients(backbone)
    if config.whitening:
        backbone = Whitened(backbone, channels=channels)
    if config.conv_init == "dirac":
        start_as_identity(backbone)
    if config.freeze_backbone:
        backbone = FrozenBackbone(backbone)
    classifier = Classifier(
        backbone,
        head,
        mean=data.mean,
        std=data.std,
        channels_last=channels_last,
        **_target_scale(data),
        dropout=dropout,
        test_time_flip=config.test_time_flip,
    )
    if shapes is not None:
        take_shapes(classifier, shapes)
        classifier.to(memory_format=classifier.memory_format)
    _try_one_image(classifier, config, num_classes, channels=channels, size=size)
    return classifier


def _check_start(config: ModelConfig) -> None:
    """Refuse to overwrite downloaded weights."""
    starts = {"model.whitening=true": config.whitening, "model.conv_init=dirac": config.conv_init == "dirac"}
    for setting, given in starts.items():
        if given and config.pretrained:
            message = f"model.pretrained=true and {setting} contradict each other"
            raise ConfigError(message, key=setting.partition("=")[0], hint="drop one of the two")


def _parts(config: ModelConfig, num_classes: int, *, channels: int, size: int) -> tuple[nn.Module, nn.Module]:
    """Backbone and head of the network that the settings name."""
    if config.target:
        network = own_network(config, num_classes=num_classes, channels=channels, image_size=size)
        return _split(network, num_classes, channels=channels, size=size)
    check_name(config.name, "lightning")
    if config.name == "small_cnn":
        backbone, features = small_cnn(config.args, channels=channels)
    else:
        library = timm_backbone if config.name.startswith(TIMM_PREFIX) else torchvision_backbone
        backbone, features = library(config, channels=channels, image_size=size)
    return backbone, nn.Linear(features, num_classes)


def _dropout(config: ModelConfig, backbone: nn.Module, head: nn.Module) -> float:
    """Set `model.dropout` in the network's own layers; where it has none, return it for the features."""
    if config.dropout is None or set_dropout(backbone, config.dropout):
        return 0.0
    if isinstance(head, nn.Identity):
        raise ConfigError(
            f"model.dropout={config.dropout}: {config.target} has neither a nn.Dropout nor a last linear layer",
            key="model.dropout",
            hint="give your network a nn.Dropout where values should be dropped, or type model.dropout=null",
        )
    return config.dropout


def _target_scale(data: DataConfig) -> dict[str, list[float]]:
    """Mean and deviation of a regression's targets, as arguments of `Classifier`."""
    if data.task != "regression":
        return {}
    if not data.target_mean or not data.target_std:
        raise ValueError("data settings must be complete: see mlstack.datasets.complete")
    return {"target_mean": data.target_mean, "target_std": data.target_std}


def _split(network: nn.Module, num_classes: int, *, channels: int, size: int) -> tuple[nn.Module, nn.Module]:
    """A user's network as backbone and head where its last step is a linear layer; else all of it is backbone."""
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1][1].out_features != num_classes:
        return network, nn.Identity()
    name, head = linear[-1]
    images = torch.linspace(-1, 1, channels * size * size).view(1, channels, size, size)
    whole = _answer(network, images)
    take_head(network)
    parted = _answer(nn.Sequential(network, head), images)
    if whole is not None and parted is not None and whole.equal(parted):
        return network, head
    set_module(network, name, head)
    return network, nn.Identity()


@torch.no_grad()
def _answer(network: nn.Module, images: Tensor) -> Tensor | None:
    """What a network in evaluation mode returns for normalised images; None where it fails.

    It may fail with AttributeError where it looks into the layer that was taken off (`self.linear.weight`).
    """
    training = network.training
    try:
        answer = network.eval()(images)
    except (RuntimeError, ValueError, AssertionError, TypeError, AttributeError):
        return None
    finally:
        network.train(training)
    return answer if isinstance(answer, Tensor) else None


@torch.no_grad()
def _try_one_image(classifier: Classifier, config: ModelConfig, num_classes: int, *, channels: int, size: int) -> None:
    """Find out before training whether the network takes images of this size and answers one score a class."""
    name = config.target or config.name
    classifier.eval()
    try:
        logits = classifier(torch.zeros(1, size, size, channels, dtype=torch.uint8))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"{name} can't take images of {size}×{size} with {channels} channels: {str(error).splitlines()[0]}",
            key="data.image_size",
            hint="enlarge them: data.image_size=224, or choose another model",
        ) from error
    finally:
        classifier.train()
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(f"{name} answers {got} for one image, not scores [1, {num_classes}]", key="model.target")
