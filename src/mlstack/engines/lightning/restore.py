"""Reading checkpoints: the newest whole one to go on from, the weights to predict with, weights to start from."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from mlstack.engines.lightning.position import Position
from mlstack.errors import RunError
from mlstack.models.pytorch import Classifier
from mlstack.runs import RunFolder
from mlstack.utils.console import say
from mlstack.utils.ranks import is_main_process

PREFIX = "classifier."  # of the network's own weights among the training module's
DAMAGED = (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, UnpicklingError)


def newest_checkpoint(folder: Path) -> tuple[Path, Position] | None:
    """The whole checkpoint that got furthest, and where that is; None where there is no checkpoint at all.

    A damaged one is named, put aside as `<name>.damaged`, and passed over.

    Raises:
        RunError: There are checkpoints, and every one is damaged.
    """
    found: list[tuple[Position, Path]] = []
    damaged = []
    for path in sorted(folder.glob("[!.]*.ckpt")):
        try:
            found.append((Position.from_checkpoint(_read(path)), path))
        except DAMAGED as error:
            damaged.append(path)
            if is_main_process():
                say(f"warning     {path} is damaged and passed over: {_reason(error)}")
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


def load_weights(classifier: Classifier, path: Path) -> None:
    """Put a checkpoint's weights into a network: their moving average where it holds one.

    Raises:
        RunError: The file is damaged, no checkpoint of this project, or of another network.
    """
    try:
        classifier.load_state_dict(_weights(path))
    except DAMAGED as error:
        raise RunError(
            f"{path} can't be loaded: {_reason(error)}", hint="try the other one: checkpoint=last or checkpoint=best"
        ) from error


def start_from(classifier: nn.Module, path: Path) -> str:
    """Copy those weights of a checkpoint that fit by name and shape; the others stay as they are.

    Returns:
        What was taken and what was not, in one line.

    Raises:
        RunError: The file is damaged, or no weight but the head's would fit.
    """
    try:
        weights = _weights(path)
    except DAMAGED as error:
        raise RunError(f"init_from={path} can't be loaded: {_reason(error)}") from error
    own = classifier.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not any(name.startswith("backbone.") for name in fitting):
        raise RunError(
            f"init_from={path}: none of its weights fits this network",
            hint="choose the same model as that run's: its config.yaml names model.name, and image size and channels",
        )
    classifier.load_state_dict(fitting, strict=False)
    new = [name for name in own if name not in fitting]
    rest = f"; new: {', '.join(new[:4])}{', …' if len(new) > 4 else ''}" if new else ""
    return f"{len(fitting)} of {len(own)} tensors from {path}{rest}"


def _weights(path: Path) -> dict[str, Tensor]:
    content = _read(path)
    if "ema" in content:
        return dict(content["ema"])
    state = content["state_dict"]
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


def _read(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
