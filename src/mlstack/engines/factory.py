"""From the name of an engine to the engine; its framework is imported then and not before."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from mlstack.config.trainer import ENGINES
from mlstack.engines.base import Engine
from mlstack.errors import ConfigError, MissingPackageError

# Each engine lies in a folder of its name. What it needs to be installed, and the pin that a message names.
CLASSES = {"lightning": "LightningEngine", "paddle": "PaddleEngine"}
PINS = {
    "torch": "torch==2.14.1",
    "pytorch_lightning": "pytorch-lightning==2.6.6",
    "paddle": "paddlepaddle==3.3.1",
    "safetensors": "safetensors==0.8.0",
}


class WeightFiles(Protocol):
    """How an engine's checkpoints hold weights: its module `weight_files`."""

    def read_weights(self, path: Path) -> dict[str, NDArray[Any]]:
        """The network's weights by name: their moving average where the checkpoint holds one."""
        ...

    def write_weights(self, path: Path, weights: Mapping[str, NDArray[Any]]) -> None:
        """A checkpoint that holds weights only; raises OSError."""
        ...


def create_engine(name: str) -> Engine:
    """The engine that `trainer.engine` names. Imports its framework.

    Raises:
        ConfigError: There is no such engine.
        MissingPackageError: Its framework is not installed.
    """
    engine: Engine = getattr(engine_module(name, "engine"), CLASSES[name])()
    return engine


def weight_files(name: str) -> WeightFiles:
    """How the engine's checkpoints hold weights. Imports no more than that takes.

    Raises:
        ConfigError: There is no such engine.
        MissingPackageError: What reads its checkpoints is not installed.
    """
    return cast(WeightFiles, engine_module(name, "weight_files"))


def engine_module(name: str, part: str) -> Any:
    """A module of an engine's folder. Raises as `create_engine`."""
    if name not in ENGINES:
        raise ConfigError(f"trainer.engine={name} is unknown", key="trainer.engine", allowed=ENGINES)
    try:
        return import_module(f"{__package__}.{name}.{part}")
    except ModuleNotFoundError as error:
        if error.name not in PINS:
            raise
        raise MissingPackageError(PINS[error.name], needed_for=f"trainer.engine={name}") from error
