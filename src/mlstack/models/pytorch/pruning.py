"""Whole channels out of a network, followed through its layers by torch-pruning (https://arxiv.org/abs/2301.12900).

A channel goes together with all that depends on it: its batch norm, the layers that it feeds, the channels that a
shortcut adds it to. What stays is an ordinary network of fewer channels, faster everywhere without any support for it.
Which channels go is chosen here, since torch-pruning's own rounding leaves a layer whole where few channels would stay.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from mlstack.config import PruneConfig
from mlstack.errors import ConfigError, MissingPackageError
from mlstack.models.pytorch.classifier import Classifier
from mlstack.models.pytorch.cost import count_parameters
from mlstack.models.pytorch.whitening import Whitened

PIN = "torch-pruning==1.6.1"
# Channels that convolution kernels take at a time. In ONNX Runtime, ResNet-18 at 28 pixels and a ratio of 0.7 takes
# 0.10 × its time in multiples of 16, 0.12 × in multiples of 8, and 0.14 × in any number of channels.
BLOCK, WIDE_BLOCK = 8, 16
WIDE = 64  # channels of a layer that is rounded to the larger one
LEAST = 0.1  # share that a layer keeps with scope=global, where nothing would get through it otherwise
# What torch-pruning raises for a network that it can't follow, and layers for shapes that no longer fit.
FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def remove_channels(classifier: Classifier, settings: PruneConfig, *, channels: int, size: int, seed: int) -> None:
    """Remove a share of the channels, those of least importance; the head's answers and the whitening layer stay.

    Args:
        classifier: With its trained weights; it is changed in place.
        settings: The `prune` settings.
        channels: Of the images.
        size: Height and width of the images.
        seed: Of `prune.importance=random`; processes with equal weights and seeds remove the same channels.

    Raises:
        ConfigError: The network can't be followed, or has no channel to spare.
        MissingPackageError: torch-pruning is not installed.
    """
    learns = {name: parameter.requires_grad for name, parameter in classifier.named_parameters()}
    before, training = count_parameters(classifier), classifier.training
    torch.manual_seed(seed)
    try:
        pruner = _pruner(classifier, classifier.scale.new_zeros(1, channels, size, size), settings.importance)
        _remove(pruner, settings)
    except FAILURES as error:
        raise not_followed(error) from error
    finally:
        classifier.train(training)
    for name, parameter in classifier.named_parameters():
        parameter.requires_grad_(learns[name])
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)  # see narrowing.py
    classifier.to(memory_format=classifier.memory_format)
    if count_parameters(classifier) == before:
        raise ConfigError(
            f"prune.ratio={settings.ratio} removes no channel of this network",
            key="prune.ratio",
            hint=f"layers keep multiples of {BLOCK} channels: choose a larger ratio, or a wider network",
        )


def not_followed(error: Exception) -> ConfigError:
    """What to say of a network whose channels can't be removed."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConfigError(
        f"prune.method=structured can't remove channels of this network: {first}",
        key="prune.method",
        hint="type prune.method=unstructured, or choose a convolutional network such as model=resnet18",
    )


def _pruner(classifier: Classifier, pixels: Tensor, importance: str) -> Any:
    """Torch-pruning's picture of a network: which channels hang together, and how much they weigh.

    Raises:
        MissingPackageError: torch-pruning is not installed.
    """
    try:
        import torch_pruning  # optional package
    except ModuleNotFoundError as error:
        raise MissingPackageError(PIN, needed_for="prune.method=structured") from error
    known = torch_pruning.importance
    by_norm = importance != "random"
    with warnings.catch_warnings(action="ignore"):  # of parameters that belong to no layer it says so, and goes on
        return torch_pruning.pruner.BasePruner(
            classifier,
            pixels,
            forward_fn=_answer,
            importance=known.GroupMagnitudeImportance(p=int(importance[1:])) if by_norm else known.RandomImportance(),
            ignored_layers=_kept_layers(classifier, pixels),
        )


@torch.no_grad()
def _remove(pruner: Any, settings: PruneConfig) -> None:
    """Rank the channels of all groups of layers that lose theirs together; then let the last ones go."""
    found = []
    for group in pruner.DG.get_all_groups(pruner.ignored_layers, pruner.root_module_types):
        importance = pruner.estimate_importance(group)
        if importance is not None:
            parts = pruner._get_channel_groups(group)  # of a grouped convolution, which has to lose as many of each
            root = group[0].dep.target.module, group[0].dep.handler
            found.append((root, parts, importance.view(parts, -1).mean(dim=0).cpu()))
    limit = None
    if settings.scope == "global" and found:
        every = torch.cat([importance for _, _, importance in found]).sort().values
        limit = float(every[round(settings.ratio * (len(every) - 1))])
    for (layer, prune), parts, importance in found:
        total = len(importance)
        above = (1 - settings.ratio) * total if limit is None else float((importance > limit).sum())
        kept = _rounded(max(above, 0.0 if limit is None else LEAST * total), total)
        leaving = importance.argsort(stable=True)[: total - kept]
        if len(leaving):
            places = torch.cat([leaving + part * total for part in range(parts)]).sort().values.tolist()
            group = pruner.DG.get_pruning_group(layer, prune, places)
            if pruner.DG.check_pruning_group(group):
                group.prune()


def _rounded(channels: float, total: int) -> int:
    """The multiple of a block nearest to a number of channels, but at least one and not above what there is."""
    block = WIDE_BLOCK if total >= WIDE else BLOCK
    return min(total, max(block, round(channels / block) * block))


def _answer(classifier: Classifier, pixels: Tensor) -> Tensor:
    """float [batch, channel, height, width], normalised → what the head says; normalisation has no channels to lose."""
    answer: Tensor = classifier.head(classifier.backbone(pixels))
    return answer


def _kept_layers(classifier: Classifier, pixels: Tensor) -> list[nn.Module]:
    """Layers whose outputs stay: the head; where a network of one's own has none, those that may be its last."""
    kept: list[nn.Module] = [module.whitening for module in classifier.modules() if isinstance(module, Whitened)]
    if not isinstance(classifier.head, nn.Identity):
        return [*kept, classifier.head]
    with torch.no_grad():
        answers = classifier.eval()(torch.zeros(1, *pixels.shape[2:], pixels.shape[1], dtype=torch.uint8)).shape[1]
    layers = [module for module in classifier.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [*kept, *(layer for layer in layers if len(layer.weight) == answers)]
