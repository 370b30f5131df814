"""What the weights of a loss are in numbers: those that were given, or those that `balanced` means."""

from __future__ import annotations

from collections.abc import Sequence

from mlstack.config import DataConfig, ModelConfig
from mlstack.errors import ConfigError

WEIGHTS = ("class_weights", "alpha", "pos_weight")  # the arguments of losses that may have a value for each class


def loss_weights(
    model: ModelConfig, data: DataConfig, *, class_counts: Sequence[int] | None = None, images: int | None = None
) -> dict[str, list[float]]:
    """The arguments of `model.loss_args` that have a value for each class, as numbers in the order of `data.classes`.

    `balanced` is images / (classes · images of the class), and for bce's `pos_weight` absent / present images. A class
    without an image counts like one with a single image; so does a label that every image has, among the absent.

    Args:
        model: The `model` settings.
        data: The `data` settings with `classes`.
        class_counts: Training images of each class (multilabel: with each label), for `balanced`.
        images: Training images in all; only `pos_weight` needs it.

    Raises:
        ConfigError: There is not one number a class.
        ValueError: `balanced`, but no counts.
    """
    size = len(data.classes or ())
    found: dict[str, list[float]] = {}
    for name in WEIGHTS:
        given = model.loss_args.get(name)
        if given == "balanced":
            found[name] = _balanced(name, class_counts, images)
        elif isinstance(given, list | tuple):
            found[name] = _given(name, given, size)
    return found


def _balanced(name: str, counts: Sequence[int] | None, images: int | None) -> list[float]:
    if counts is None or (name == "pos_weight" and images is None):
        raise ValueError(f"{name}=balanced needs the counts of the training images")
    if name == "pos_weight" and images is not None:
        return [max(images - count, 1) / max(count, 1) for count in counts]
    return [sum(counts) / (len(counts) * max(count, 1)) for count in counts]


def _given(name: str, given: Sequence[float], size: int) -> list[float]:
    if len(given) != size:
        key = f"model.loss_args.{name}"
        message = f"{key} has {len(given)} values for {size} classes"
        raise ConfigError(message, key=key, allowed=(f"{size} numbers, in the order of data.classes", "balanced"))
    return [float(value) for value in given]
