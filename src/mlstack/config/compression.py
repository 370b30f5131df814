"""The `prune` and `distill` groups: how training makes a network smaller. Both are recipes over the same `train.py`."""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config.keys import key

PRUNING_METHODS = ("structured", "unstructured")
PRUNING_SCOPES = ("layer", "global")
IMPORTANCES = ("l2", "l1", "random")


@dataclass
class PruneConfig:
    """What is taken out of the network of `init_from` before it is fine-tuned."""

    ratio: float = key(
        0.0, "Share to take out before training: of channels, or of weights; 0 = nothing", minimum=0, maximum=0.95
    )
    method: str = key(
        "structured",
        "structured = whole channels: smaller and faster; unstructured = single weights: zeros, no faster",
        choices=PRUNING_METHODS,
    )
    scope: str = key(
        "layer", "layer = the same share of every layer; global = the least important anywhere", choices=PRUNING_SCOPES
    )
    importance: str = key("l2", "What makes a channel important: the norm of its weights", choices=IMPORTANCES)


@dataclass
class DistillConfig:
    """A teacher that the network learns from besides the labels (https://arxiv.org/abs/1503.02531)."""

    teacher: str | None = key(
        None, "Run whose network is the teacher: its folder, or latest; null = no teacher", path=True
    )
    temperature: float = key(4.0, "Temperature at which the two networks' probabilities are compared", above=0)
    weight: float = key(0.9, "Share of the teacher in the loss; the labels have the rest", minimum=0, maximum=1)
