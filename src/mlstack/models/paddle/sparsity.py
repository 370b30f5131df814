"""Single weights set to 0, and kept there. Which ones they are is not noted anywhere: they are those that are 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import paddle
from paddle import Tensor, nn

from mlstack.config import PruneConfig
from mlstack.models.paddle.classifier import Classifier
from mlstack.models.smallest_weights import smallest_weights


def prunable_weights(classifier: Classifier) -> list[Tensor]:
    """What learns in the backbone's convolutions and linear layers; the head, which is small, stays whole."""
    layers = classifier.backbone.sublayers(include_self=True)
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Conv2D | nn.Linear)]
    return [weight for weight in weights if not weight.stop_gradient]


@paddle.no_grad()
def clear_weights(classifier: Classifier, settings: PruneConfig, *, seed: int) -> None:
    """Set a share of the backbone's weights to 0, those of least importance."""
    weights = prunable_weights(classifier)
    arrays = [weight.numpy() for weight in weights]
    cleared = smallest_weights(
        arrays, ratio=settings.ratio, scope=settings.scope, importance=settings.importance, seed=seed
    )
    for weight, array, places in zip(weights, arrays, cleared, strict=True):
        weight.set_value((array * ~places).astype(array.dtype))


@contextmanager
def zeros_held(weights: Sequence[Tensor]) -> Iterator[None]:
    """Weights that are 0 on entry are 0 on exit, whatever was done to them in between.

    No mask outlives an optimizer step: what a run that goes on finds in its checkpoint is all there is.
    """
    kept = [weight.detach() != 0 for weight in weights]
    yield
    with paddle.no_grad():
        for weight, places in zip(weights, kept, strict=True):
            paddle.assign(weight * places.astype(weight.dtype), output=weight)
