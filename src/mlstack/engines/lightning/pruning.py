"""Pruning at the beginning of a run, once the weights of `init_from` are in the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mlstack.config import Config
from mlstack.engines.pruning import Size, note_pruning
from mlstack.errors import ConfigError
from mlstack.models.pytorch import Classifier, build_classifier
from mlstack.models.pytorch.cost import count_macs, count_parameters
from mlstack.models.pytorch.pruning import FAILURES, not_followed, remove_channels
from mlstack.models.pytorch.sparsity import clear_weights, prunable_weights
from mlstack.models.weight_shapes import shapes_of
from mlstack.runs import RunFolder


def prune(classifier: Classifier, config: Config, run: RunFolder) -> None:
    """Take out what `prune` says, and note in results.json what that came to; nothing with `prune.ratio=0`.

    Raises:
        ConfigError: The network's channels can't be removed, or none is to spare.
        MissingPackageError: torch-pruning is not installed.
    """
    settings = config.prune
    if not settings.ratio:
        return
    before = size_of(classifier, config)
    if settings.method == "structured":
        channels, size = _pictures(config)
        remove_channels(classifier, settings, channels=channels, size=size, seed=config.seed)
        _check_rebuilt(classifier, config)
    else:
        clear_weights(classifier, settings, seed=config.seed)
    note_pruning(run, settings, before=before, after=size_of(classifier, config))


def held_weights(classifier: Classifier, config: Config) -> Sequence[Tensor]:
    """The weights whose zeros last through a training: those that `prune.method=unstructured` has looked at."""
    is_sparse = config.prune.ratio > 0 and config.prune.method == "unstructured"
    return prunable_weights(classifier) if is_sparse else ()


def size_of(classifier: Classifier, config: Config) -> Size:
    channels, size = _pictures(config)
    return Size(count_parameters(classifier), count_macs(classifier, channels=channels, size=size))


@torch.no_grad()
def _check_rebuilt(classifier: Classifier, config: Config) -> None:
    """Make sure that the weights alone are enough to build this network again: they are all that a checkpoint has.

    Raises:
        ConfigError: They are not.
    """
    channels, size = _pictures(config)
    state = classifier.state_dict()
    training = classifier.training
    images = torch.arange(size * size * channels).remainder(256).to(torch.uint8).view(1, size, size, channels)
    try:
        model = replace(config.model, pretrained=False)
        again = build_classifier(
            model, config.data, channels_last=config.trainer.channels_last, shapes=shapes_of(state)
        )
        again.load_state_dict(state)
        equal = torch.equal(again.eval()(images), classifier.eval()(images))
    except (*FAILURES, ConfigError) as error:
        raise not_followed(error) from error
    finally:
        classifier.train(training)
    if not equal:
        raise not_followed(ValueError("it answers otherwise when it is built from its weights"))


def _pictures(config: Config) -> tuple[int, int]:
    channels, size = config.data.channels, config.data.image_size
    assert channels is not None
    assert size is not None
    return channels, size
