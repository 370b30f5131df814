"""What a training writes down about itself: losses, scores, times; the same rows whatever the framework."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.engines.meter import TrainingMeter, diverged, first_bad
from mlstack.engines.position import Position
from mlstack.metrics import score
from mlstack.trackers import Tracker

Gather = Callable[[Any], list[Any]]  # a plain value of each process that trains, by rank


class TrainingLog:
    """Rows for the trackers, and what a checkpoint has to hold so that a run that goes on writes the same ones.

    Args:
        config: All settings.
        position: Where the run is; the engine moves it on.
        meter: Counts the losses.
        trackers: Where rows go.
        metrics_path: metrics.csv, whose length goes into checkpoints.
        gather: Of all processes that train.
        world_size: How many these are.

    Attributes:
        rate: The learning rate as it is now, which the engine sets.
    """

    def __init__(
        self,
        config: Config,
        *,
        position: Position,
        meter: TrainingMeter[Any],
        trackers: Sequence[Tracker],
        metrics_path: Path,
        gather: Gather = lambda value: [value],
        world_size: int = 1,
    ) -> None:
        self.config, self.position, self.meter = config, position, meter
        self.trackers, self.metrics_path = trackers, metrics_path
        self.gather, self.world_size = gather, world_size
        self.rate = 0.0
        self._epoch_row: dict[str, float] = {}
        self._began = (time.perf_counter() - position.seconds, time.process_time() - position.cpu_seconds)

    @property
    def seconds(self) -> float:
        """Wall time of training so far, that of the processes before this one included."""
        return time.perf_counter() - self._began[0]

    @property
    def cpu_seconds(self) -> float:
        """CPU time of this process and of those that trained this run before it."""
        return time.process_time() - self._began[1]

    def begin_epoch(self) -> None:
        """Forget the epoch before."""
        self._epoch_row = {}
        self.meter.epoch()

    def log_training(self, **extra: float) -> None:
        """Write the mean loss and accuracy since the last time. Reads from the device, so not every step.

        Raises:
            TrainingError: A loss since then was NaN or infinite.
        """
        self.check_losses()
        sums = self.meter.read()
        if self.world_size > 1:
            sums = [math.fsum(parts) for parts in zip(*self.gather(sums), strict=True)]
        self.meter.add_to_epoch(sums)
        row = {**self.meter.means(sums), **extra}
        if row:
            self.write({"learning_rate": self.rate, **row})

    def check_losses(self) -> None:
        """Stop where a loss since the last reading was NaN or infinite. All ranks see it at the same time."""
        losses = self.meter.losses()
        bad = first_bad(losses)
        behind = len(losses) - bad if bad is not None else 0
        loss = losses[bad] if bad is not None else math.nan
        if self.world_size > 1:
            behind = int(max(self.gather(behind)))
        if behind:
            size = self.config.trainer.accumulate_grad_batches
            step = self.position.step - (behind - 1) // size
            raise diverged(step=step, epoch=self.position.epoch + 1, loss=loss)

    def check_weights(self, *, finite: bool) -> None:
        """Before a checkpoint is written: neither a loss nor a weight is NaN or infinite.

        Raises:
            TrainingError: One is.
        """
        self.check_losses()
        if not finite:  # the last step made them so; the next loss would show it
            raise diverged(step=self.position.step, epoch=self.position.epoch + 1, loss=math.nan)

    def log_validation(self, outputs: NDArray[np.float32], labels: NDArray[Any]) -> dict[str, float]:
        """Measure, and write what was measured.

        Args:
            outputs: float32 [n, answer], as `Predictions.outputs`, of this rank.
            labels: Of this rank.

        Returns:
            `val_<metric>` over all ranks; NaN where a metric has no value.
        """
        parts = self.gather((outputs, labels))
        everything = [np.concatenate([part[place] for part in parts]) for place in (0, 1)]
        scores = score(self.config.data.task, everything[0], everything[1])
        row = {f"val_{name}": math.nan if value is None else value for name, value in scores.items()}
        self.write({name: value for name, value in row.items() if not math.isnan(value)})
        return row

    def write(self, row: dict[str, float]) -> None:
        """One row to every tracker."""
        self._epoch_row.update(row)
        cells = {"epoch": self.position.epoch, "cpu_seconds": self.cpu_seconds, **row}
        for tracker in self.trackers:
            tracker.log_metrics(cells, step=self.position.step)

    def epoch_summary(self) -> dict[str, float]:
        """The last values that this epoch wrote, its training loss and accuracy as means over the whole epoch."""
        return {**self._epoch_row, **self.meter.epoch()}

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint. All ranks take part."""
        self.position.seconds, self.position.cpu_seconds = self.seconds, self.cpu_seconds
        self.position.world_size = self.world_size
        self.position.metrics_bytes = self.metrics_path.stat().st_size if self.metrics_path.exists() else 0
        return {
            "position": self.position.state_dict(),
            "meters": self.gather(self.meter.state_dict()),
            "epoch_row": dict(self._epoch_row),
        }

    def load_state_dict(self, state: dict[str, Any], *, rank: int) -> None:
        """Take over what a checkpoint holds; the position was taken before."""
        if rank < len(state["meters"]):
            self.meter.load_state_dict(state["meters"][rank])
        self._epoch_row = dict(state["epoch_row"])
