"""From settings to a network that fits the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
from paddle import Tensor, nn

from mlstack.config import DataConfig, ModelConfig
from mlstack.errors import ConfigError
from mlstack.models.catalog import check_name, check_pretrained
from mlstack.models.paddle.classifier import Classifier, FrozenBackbone
from mlstack.models.paddle.libraries import first_line, library_backbone, own_network
from mlstack.models.paddle.memory import checkpoint_gradients
from mlstack.models.paddle.narrowing import take_shapes
from mlstack.models.paddle.small_cnn import small_cnn
from mlstack.models.paddle.starts import set_dropout, start_as_identity, start_as_torch
from mlstack.models.paddle.surgery import set_module, take_head
from mlstack.models.paddle.whitening import Whitened
from mlstack.models.weight_shapes import Shape


def build_classifier(config: ModelConfig, data: DataConfig, *, shapes: Mapping[str, Shape] | None = None) -> Classifier:
    """The network of a run, its weights drawn from Paddle's global generator.

    Args:
        config: The `model` settings.
        data: The `data` settings with their derived values filled in (classes, image_size, channels, mean, std; of a
            regression also target_mean and target_std).
        shapes: From `shapes_of`: those of weights that will come in and have lost channels; None = the full width.

    Raises:
        ConfigError: Unknown architecture, or one that can't take these images, or settings that don't fit it.
        DownloadError: The pretrained weights can't be had.
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
        **_target_scale(data),
        dropout=dropout,
        test_time_flip=config.test_time_flip,
    )
    if shapes is not None:
        take_shapes(classifier, shapes)
    _try_one_image(classifier, config, num_classes, channels=channels, size=size)
    return classifier


def _check_start(config: ModelConfig) -> None:
    """Refuse to overwrite downloaded weights."""
    starts = {"model.whitening=true": config.whitening, "model.conv_init=dirac": config.conv_init == "dirac"}
    for setting, given in starts.items():
        if given and config.pretrained:
            message = f"model.pretrained=true and {setting} contradict each other"
            raise ConfigError(message, key=setting.partition("=")[0], hint="drop one of the two")


def _parts(config: ModelConfig, num_classes: int, *, channels: int, size: int) -> tuple[nn.Layer, nn.Layer]:
    """Backbone and head of the network that the settings name."""
    if config.target:
        network = own_network(config, num_classes=num_classes, channels=channels, image_size=size)
        return _split(network, num_classes, channels=channels, size=size)
    check_name(config.name, "paddle")
    if config.pretrained:
        check_pretrained(config.name, "paddle")
    if config.name == "small_cnn":
        backbone, features = small_cnn(config.args, channels=channels)
    else:
        backbone, features = library_backbone(config, channels=channels, image_size=size)
    head = nn.Linear(features, num_classes)
    start_as_torch(head)
    return backbone, head


def _dropout(config: ModelConfig, backbone: nn.Layer, head: nn.Layer) -> float:
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


def _split(network: nn.Layer, num_classes: int, *, channels: int, size: int) -> tuple[nn.Layer, nn.Layer]:
    """A user's network as backbone and head where its last step is a linear layer; else all of it is backbone."""
    linear = [(name, module) for name, module in network.named_sublayers() if isinstance(module, nn.Linear)]
    if not linear or linear[-1][1].weight.shape[1] != num_classes:
        return network, nn.Identity()
    name, head = linear[-1]
    numbers = paddle.linspace(-1, 1, channels * size * size, dtype=paddle.get_default_dtype())
    images = numbers.reshape([1, channels, size, size])
    whole = _answer(network, images)
    take_head(network)
    parted = _answer(nn.Sequential(network, head), images)
    if whole is not None and parted is not None and whole.equal_all(parted).item():
        return network, head
    set_module(network, name, head)
    return network, nn.Identity()


@paddle.no_grad()
def _answer(network: nn.Layer, images: Tensor) -> Tensor | None:
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


@paddle.no_grad()
def _try_one_image(classifier: Classifier, config: ModelConfig, num_classes: int, *, channels: int, size: int) -> None:
    """Find out before training whether the network takes images of this size and answers one score a class."""
    name = config.target or config.name
    classifier.eval()
    hooks = [layer.register_forward_pre_hook(_refuse_small) for layer in classifier.sublayers()]
    try:
        logits = classifier(paddle.zeros([1, size, size, channels], dtype="uint8"))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"{name} can't take images of {size}×{size} with {channels} channels: {first_line(error)}",
            key="data.image_size",
            hint="enlarge them: data.image_size=224, or choose another model",
        ) from error
    finally:
        classifier.train()
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, Tensor) or list(logits.shape) != [1, num_classes]:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(f"{name} answers {got} for one image, not scores [1, {num_classes}]", key="model.target")


def _refuse_small(layer: nn.Layer, inputs: tuple[Any, ...]) -> None:
    """Paddle's layers take pictures that are smaller than their window, and give nonsense or nothing for them."""
    if not isinstance(layer, nn.Conv2D | nn.MaxPool2D | nn.AvgPool2D):
        return
    if isinstance(layer, nn.Conv2D):
        window, padding = layer._dilation[0] * (layer._kernel_size[0] - 1) + 1, layer._padding
    else:
        window, padding = layer.ksize, layer.padding
    side = inputs[0].shape[-1]
    if isinstance(window, int) and isinstance(padding, int) and side + 2 * padding < window:
        raise ValueError(f"the window of a {type(layer).__name__} has a side of {window}, and {side} are left")
