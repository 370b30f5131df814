"""Names and shapes of weights, as both frameworks' networks are made to fit them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Shape = tuple[int, ...]

# `FrozenBackbone` puts its own `backbone.` before the names of what it holds.
FROZEN, LEARNING = "backbone.backbone.", "backbone."


def unwrapped(name: str) -> str:
    """A weight's name as it is without `model.freeze_backbone`."""
    return f"{LEARNING}{name.removeprefix(FROZEN)}" if name.startswith(FROZEN) else name


def shapes_of(weights: Mapping[str, Any]) -> dict[str, Shape]:
    """The shape of each tensor or array, under its name without `model.freeze_backbone`."""
    return {unwrapped(name): tuple(value.shape) for name, value in weights.items()}


def narrowed_shape(name: str, own: Shape, shapes: Mapping[str, Shape], *, kept: tuple[int, ...] = ()) -> Shape:
    """What a layer's tensor is to be cut to.

    Args:
        name: The tensor's.
        own: Its shape now.
        shapes: From `shapes_of`.
        kept: Dimensions that stay as they are: the answers of the head.

    Raises:
        ValueError: The weights that come in lack it, have more of a dimension, or another kernel.
    """
    given = shapes.get(unwrapped(name))
    if given is None:
        raise ValueError(f"it is of another network: it lacks {name}")
    if len(given) != len(own):
        raise ValueError(f"it is of another network: {name} is {list(given)}, not {list(own)}")
    cut = tuple(size if place in kept else given[place] for place, size in enumerate(own))
    if cut[2:] != own[2:] or any(less > size or less < 1 for less, size in zip(cut, own, strict=True)):
        raise ValueError(f"it is of another network: {name} is {list(given)}, not {list(own)} or less")
    return cut
