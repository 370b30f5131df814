"""How much a run has to do, and where it is, as a checkpoint tells it.

A run goes on at (epoch, batch): its loader starts the epoch with that batch, and to Lightning it looks like a run whose
first epoch has fewer batches. Lightning's own account of its loops isn't used: restored within an epoch, or between an
epoch's last batch and its validation, it repeats or skips a batch or a validation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import pytorch_lightning as pl

from mlstack.errors import HardwareError


@dataclass(frozen=True)
class Plan:
    """How much there is to do.

    Attributes:
        total_steps: Optimizer steps of the whole run.
        batches: Training batches an epoch, on each rank.
        images: Training images an epoch, over all ranks.
        global_sizes: Images of each of those batches, over all ranks.
    """

    total_steps: int
    batches: int
    images: int
    global_sizes: tuple[int, ...]


@dataclass
class Position:
    """What has been done so far.

    Attributes:
        epoch: The epoch that is going on, from 0.
        batches: Training batches of it that are done, on each rank.
        step: Optimizer steps since the beginning.
        stopped: Whether early stopping has ended the run.
        metrics_bytes: Length of metrics.csv.
        seconds: Wall time of training.
        cpu_seconds: CPU time of the process that writes.
        world_size: Processes that shared the work; 0 before the first checkpoint.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    stopped: bool = False
    metrics_bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    world_size: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_checkpoint(cls, content: dict[str, Any]) -> Position:
        """The position that a checkpoint was written at.

        Raises:
            KeyError: It is none of this project's.
        """
        state = content["position"]
        return cls(**{field.name: state[field.name] for field in fields(cls)})

    def check_world_size(self, world_size: int) -> None:
        """HardwareError where other processes go on than those that have counted the batches so far."""
        if self.world_size not in (0, world_size):
            raise HardwareError(
                f"this run was trained by {self.world_size} processes, and {world_size} would go on with it",
                hint=f"start as many: torchrun --nproc_per_node {self.world_size}, or as the run was started\n"
                "or start a new run from its weights: init_from=<run folder>",
            )

    @property
    def place(self) -> tuple[int, int]:
        """What orders two positions of one run."""
        return self.epoch, self.batches


def tell_lightning(trainer: pl.Trainer, position: Position) -> None:
    """Let a Trainer that has not begun count epochs and optimizer steps from `position`."""
    progress = trainer.fit_loop.epoch_progress
    for tracker in (progress.total, progress.current):
        tracker.ready = tracker.completed = position.epoch
        tracker.started = tracker.processed = position.epoch  # type: ignore[attr-defined]
    steps = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    for counter in (steps.total, steps.current):
        counter.ready = counter.completed = position.step
