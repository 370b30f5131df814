"""Going on with a run: its newest whole checkpoint, and what has to be taken back that came after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from mlstack.config import Config
from mlstack.engines.position import Position
from mlstack.errors import RunError
from mlstack.models.conversion import BATCHES
from mlstack.models.weight_shapes import unwrapped
from mlstack.runs import RunFolder
from mlstack.utils.console import say
from mlstack.utils.ranks import is_main_process

SAME_MODEL = "choose the same model as that run's: its config.yaml names model.name, and image size and channels"
DAMAGED = (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, UnpicklingError)


def newest_checkpoint(folder: Path, read: Callable[[Path], dict[str, Any]]) -> tuple[Path, Position] | None:
    """The whole checkpoint that got furthest, and where that is; None where there is no checkpoint at all.

    A damaged one is named, put aside as `<name>.damaged`, and passed over.

    Args:
        folder: `checkpoints/` of a run.
        read: The whole content of a checkpoint; fails with one of `DAMAGED`.

    Raises:
        RunError: There are checkpoints, and every one is damaged.
    """
    found: list[tuple[Position, Path]] = []
    damaged = []
    for path in sorted(folder.glob("[!.]*.ckpt")):
        try:
            found.append((Position.from_checkpoint(read(path)), path))
        except DAMAGED as error:
            damaged.append(path)
            if is_main_process():
                say(f"warning     {path} is damaged and passed over: {reason(error)}")
    if damaged and not found:
        raise RunError(
            f"{folder} holds no whole checkpoint: {len(damaged)} are damaged",
            hint="put a copy of a whole one there, or train anew",
        )
    if is_main_process():
        for path in damaged:
            path.rename(f"{path}.damaged")
    if not found:
        return None
    position, path = max(found, key=lambda each: (each[0].place, each[1].name == "last.ckpt"))
    return path, position


def go_back(run: RunFolder, position: Position) -> None:
    """Take back what a run wrote after the checkpoint that it goes on from: rows of metrics.csv, unfinished files."""
    if not is_main_process():
        return
    done = f"epoch {position.epoch + 1}, {position.batches} of its batches done, {position.step} optimizer steps in all"
    say(f"resume      at {done}" if position.step else "resume      from the beginning: there was no checkpoint yet")
    if run.metrics_path.exists() and run.metrics_path.stat().st_size > position.metrics_bytes:
        if position.metrics_bytes:
            os.truncate(run.metrics_path, position.metrics_bytes)
        else:
            run.metrics_path.unlink()
    for path in run.checkpoints.glob(".*.ckpt"):
        path.unlink()


def starting_point(config: Config) -> Path | None:
    """The checkpoint whose weights a new run begins with; None where it draws its own."""
    return None if config.init_from is None else Path(config.init_from)


def needed_weights(config: Config) -> str | None:
    """How the names begin of the weights of `init_from` that all have to fit; see `fitting_weights`."""
    if config.prune.ratio:
        return ""
    return "backbone." if config.model.pruned else None


def fitting_weights(
    own: Mapping[str, Any], weights: Mapping[str, Any], path: Path, *, needed: str | None = None
) -> tuple[dict[str, Any], str]:
    """Those weights of a checkpoint that fit a network by name and shape, for `init_from`.

    Args:
        own: The network's weights by name; only shapes are looked at.
        weights: The checkpoint's, under their names with or without `model.freeze_backbone`.
        path: The checkpoint.
        needed: How the names begin of those that all have to fit: `backbone.`, or nothing for all of them; None asks
            for no more than one weight of the backbone.

    Returns:
        They, under the network's names, and in one line what was taken and what was not.

    Raises:
        RunError: Too few fit.
    """
    names = {unwrapped(name): name for name in own}
    known = {names[unwrapped(name)]: value for name, value in weights.items() if unwrapped(name) in names}
    fitting = {name: value for name, value in known.items() if _shape(own[name]) == _shape(value)}
    new = [name for name in own if name not in fitting]
    if not any(name.startswith("backbone.") for name in fitting):
        raise RunError(f"init_from={path}: none of its weights fits this network", hint=SAME_MODEL)
    missing = [name for name in new if not name.endswith(BATCHES) and needed is not None and name.startswith(needed)]
    if missing:
        raise RunError(
            f"init_from={path}: what is pruned needs all of its weights, and {missing[0]} does not fit this network",
            hint=SAME_MODEL,
        )
    rest = f"; new: {', '.join(new[:4])}{', …' if len(new) > 4 else ''}" if new else ""
    return fitting, f"{len(fitting)} of {len(own)} tensors from {path}{rest}"


def check_names(own: Collection[str], weights: Collection[str]) -> None:
    """Refuse weights of another network.

    Raises:
        ValueError: Naming the first weight that is missing or of no use.
    """
    missing = [name for name in own if name not in weights]
    strange = [name for name in weights if name not in own]
    if missing or strange:
        parts = [f"{word} {names[0]}" for word, names in (("lacks", missing), ("holds", strange)) if names]
        raise ValueError(f"it is of another network: it {' and '.join(parts)}")


def damaged_weights(path: Path, error: BaseException) -> RunError:
    """What to say of a checkpoint whose weights can't be loaded."""
    return RunError(
        f"{path} can't be loaded: {reason(error)}", hint="try the other one: checkpoint=last or checkpoint=best"
    )


def reason(error: BaseException) -> str:
    """The first line of what went wrong."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape)
