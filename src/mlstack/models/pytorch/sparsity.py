"""Single weights set to 0, and kept there. Which ones they are is not noted anywhere: they are those that are 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mlstack.config import PruneConfig
from mlstack.models.pytorch.classifier import Classifier
from mlstack.models.smallest_weights import smallest_weights


def prunable_weights(classifier: Classifier) -> list[Tensor]:
    """What learns in the backbone's convolutions and linear layers; the head, which is small, stays whole."""
    layers = [layer for layer in classifier.backbone.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [layer.weight for layer in layers if layer.weight.requires_grad]


@torch.no_grad()
def clear_weights(classifier: Classifier, settings: PruneConfig, *, seed: int) -> None:
    """Set a share of the backbone's weights to 0, those of least importance."""
    weights = prunable_weights(classifier)
    cleared = smallest_weights(
        [weight.cpu().numpy() for weight in weights],
        ratio=settings.ratio,
        scope=settings.scope,
        importance=settings.importance,
        seed=seed,
    )
    for weight, places in zip(weights, cleared, strict=True):
        weight.masked_fill_(torch.from_numpy(places).to(weight.device), 0.0)


@contextmanager
def zeros_held(weights: Sequence[Tensor]) -> Iterator[None]:
    """Weights that are 0 on entry are 0 on exit, whatever was done to them in between.

    No mask outlives an optimizer step: what a run that goes on finds in its checkpoint is all there is.
    """
    kept = [weight != 0 for weight in weights]
    yield
    with torch.no_grad():
        for weight, places in zip(weights, kept, strict=True):
            weight.mul_(places)
