"""A run's whole network as files of its framework's own, where the framework has some: for runtimes but ONNX's.

An engine that has them brings a module `network_files` in its folder.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.config.trainer import ENGINES
from mlstack.engines.factory import engine_module
from mlstack.errors import ConfigError
from mlstack.runs import RunFolder

# uint8 [n, height, width, channel] → float32 [n, answer], float32 [n, feature]
Asked = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]


class NetworkWriter(Protocol):
    """A run's network, from uint8 pictures to probabilities (of a regression, values) and features."""

    def write_script(self, path: Path) -> None:
        """Write a file that is loaded and run without any of the network's code, for any number of pictures.

        Raises:
            ExportError: The network can't be written so.
        """
        ...

    def write_program(self, path: Path, *, batch: int | None = None, pixels: str = "uint8") -> None:
        """Write what the converters of `PROGRAMS` read.

        Args:
            path: The file.
            batch: The only number of pictures a call takes; None = any.
            pixels: Type of the pictures, `uint8` or `float32`; 0 to 255 in both.

        Raises:
            ExportError: The network can't be written so.
        """
        ...


class NetworkFiles(Protocol):
    """An engine's module `network_files`.

    Attributes:
        PROGRAMS: Folder of converters, `to_<target>.py`, for a Python that has the target's packages.
    """

    PROGRAMS: Path

    def network_of(
        self, config: Config, run: RunFolder, *, checkpoint: str, temperature: float | None
    ) -> NetworkWriter:
        """The network of a run, whose logits are divided by `temperature`; raises RunError."""
        ...

    def open_network(self, path: Path) -> Asked:
        """Load a file that was written."""
        ...


def network_files(engine: str, *, needed_for: str) -> NetworkFiles:
    """The files of an engine's framework; imports it.

    Raises:
        ConfigError: It has none.
        MissingPackageError: The framework is not installed.
    """
    check_network_files(engine, needed_for=needed_for)
    return cast(NetworkFiles, engine_module(engine, "network_files"))


def check_network_files(engine: str, *, needed_for: str) -> None:
    """Refuse an engine whose framework has no such files. No framework is imported.

    Raises:
        ConfigError: The line says which engine has them, and how to convert the run.
    """
    able = [name for name in ENGINES if find_spec(f"{__package__}.{name}.network_files")]
    if engine not in able:
        raise ConfigError(
            f"{needed_for} starts from a network of {' or '.join(able) or 'PyTorch'}, and this run is of {engine}",
            hint=f"convert the run first: python scripts/convert.py run=<run> engine={able[0]}" if able else "",
        )
