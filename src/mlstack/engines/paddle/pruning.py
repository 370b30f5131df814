"""Pruning at the beginning of a run, once the weights of `init_from` are in the network.

Single weights only: whole channels are removed by the other engine (config/engine_limits.py), and come in as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor

from mlstack.config import Config
from mlstack.engines.pruning import Size, note_pruning
from mlstack.models.paddle import Classifier
from mlstack.models.paddle.cost import count_macs, count_parameters
from mlstack.models.paddle.sparsity import clear_weights, prunable_weights
from mlstack.runs import RunFolder


def prune(classifier: Classifier, config: Config, run: RunFolder) -> None:
    """Take out what `prune` says, and note in results.json what that came to; nothing with `prune.ratio=0`."""
    if not config.prune.ratio:
        return
    before = size_of(classifier, config)
    clear_weights(classifier, config.prune, seed=config.seed)
    note_pruning(run, config.prune, before=before, after=size_of(classifier, config))


def held_weights(classifier: Classifier, config: Config) -> Sequence[Tensor]:
    """The weights whose zeros last through a training: those that `prune.method=unstructured` has looked at."""
    return prunable_weights(classifier) if config.prune.ratio else ()


def size_of(classifier: Classifier, config: Config) -> Size:
    channels, size = config.data.channels, config.data.image_size
    assert channels is not None
    assert size is not None
    return Size(count_parameters(classifier), count_macs(classifier, channels=channels, size=size))
