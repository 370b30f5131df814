"""The contract between a training framework and the rest of the house."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.datasets.base import Batch, Labels
from mlstack.runs import RunFolder


class BatchSource(Protocol):
    """Batches in a fixed order: a `BatchLoader` of `datasets/loader.py`, or the files of a prediction."""

    def __len__(self) -> int: ...

    def batch(self, epoch: int, step: int) -> Batch: ...


@dataclass(frozen=True)
class Predictions:
    """What a network says about pictures.

    Attributes:
        outputs: By `data.task`: float32 [n, class], rows that sum to 1 (classification); float32 [n, label], each 0
            to 1 on its own (multilabel); float32 [n, target] in the targets' own units (regression).
        labels: int64 [n], float32 [n, label] of 0 and 1, or float32 [n, target]; what the source says they are.
        indices: int64 [n], positions in the source.
    """

    outputs: NDArray[np.float32]
    labels: Labels
    indices: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The likeliest class of each picture, int64 [n].

        For classification only: of several labels or of numbers, the greatest output decides nothing.
        """
        likeliest: NDArray[np.int64] = self.outputs.argmax(axis=1)
        return likeliest


@dataclass(frozen=True)
class Answers:
    """What a network answers for pictures, before its answers become probabilities.

    Attributes:
        logits: float32 [n, answer]: a score for each class or label; of a regression, targets in their own units.
        features: float32 [n, feature], what the head sees.
        labels: As in `Predictions`.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    labels: Labels


@dataclass(frozen=True)
class RunResult:
    """What training came to.

    Attributes:
        is_main: Whether this process is the one that writes (rank 0 of several).
        epochs: Epochs that were trained.
        steps: Optimizer steps that were taken.
        best_epoch: Epoch of the best checkpoint, counted from 0; None without a validation.
        best_score: The monitored metric there.
        images_per_second: Training images a second over all devices, validation not counted.
        train_seconds: Wall time of training, validation and checkpoints included, also before the run was stopped.
        cpu_seconds: The same in CPU seconds of this process.
        peak_memory_mb: Most memory held, by the process or on the device, in MiB.
        gpu_utilization: How busy the GPU was, 0 to 1; None on a CPU.
        parameters: Parameters of the network, trainable and frozen.
        device: What it ran on, in words.
        world_size: Processes that shared the work.
        stopped_early: Whether early stopping ended it.
        teacher_parameters: Parameters of the network of `distill.teacher`; None without one.
    """

    is_main: bool
    epochs: int
    steps: int
    best_epoch: int | None
    best_score: float | None
    images_per_second: float
    train_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    gpu_utilization: float | None
    parameters: int
    device: str
    world_size: int
    stopped_early: bool
    teacher_parameters: int | None = None


class Engine(Protocol):
    """One engine, one run."""

    def fit(self, config: Config, dataset: Dataset, run: RunFolder) -> RunResult:
        """Train, validate, and leave checkpoints and metrics.csv in the run folder.

        With `config.resume` the run goes on from its newest whole checkpoint, and ends bit for bit as if it had not
        been stopped (on a CPU, with as many processes and threads); with none of them it begins anew.

        Args:
            config: All settings; derived ones are filled in.
            dataset: The data with its splits.
            run: An existing run folder.

        Raises:
            HardwareError: A device that isn't there.
            ConfigError: A network that doesn't fit the data.
            OutputError: A checkpoint or a row of metrics can't be written.
            TrainingError: A loss is NaN or infinite, or the memory is full.
            KeyboardInterrupt: Ctrl-C; a checkpoint has been written.
            SystemExit: SIGTERM; a checkpoint has been written.
        """
        ...

    def predict(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Predictions:
        """Probabilities for every picture of a source, in its order, on one device.

        Args:
            config: The run's settings; `trainer.accelerator` and `data.num_workers` may differ from the training's.
            source: Pictures in batches.
            run: The run folder that holds the weights.
            checkpoint: `best` or `last`; a run that kept none answers with the weights that `fit` left in memory.
        """
        ...

    def answers(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Answers:
        """Logits and features for every picture of a source, in its order, on one device; arguments as `predict`'s."""
        ...

    def export_onnx(self, config: Config, path: Path, *, run: RunFolder, checkpoint: str = "best") -> None:
        """Write the network as ONNX, from normalised pixels to logits and features.

        Input `pixels` float32 [batch, channel, height, width] with a dynamic batch; outputs `logits` float32
        [batch, answer] (of a regression, targets in their own units) and `features` float32 [batch, feature].
        `export/graph.py` puts normalisation before it and probabilities after it.

        Args:
            config: The run's settings.
            path: The file to write, one file with the weights in it.
            run: The run folder that holds the weights.
            checkpoint: `best` or `last`.

        Raises:
            ExportError: The network can't be written as ONNX; it names the layer or operation where that is known.
        """
        ...

    def report(self, run: RunFolder, images: Sequence[Path], *, status: str) -> None:
        """Tell the tracker what came out, once results.json and the figures are written, and end its record.

        Args:
            run: The run folder that `fit` was given.
            images: PNGs to show there; those that aren't there are left out.
            status: `finished` or `fast_dev_run`.
        """
        ...

    def share(self, config: Config, text: str | None) -> str:
        """Rank 0's text on every process that a launcher such as torchrun has started; the text itself without one."""
        ...

    def world_size(self, config: Config) -> int:
        """Processes that will share the work, over all machines."""
        ...

    def check(self, config: Config) -> None:
        """Refuse devices and precisions that this machine does not have, before data are loaded.

        Raises:
            HardwareError: Naming what is there and what to type instead.
        """
        ...
