"""How many batches and optimizer steps a run takes, counted alike for every framework."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlstack.config import TrainerConfig
from mlstack.datasets.base import Batch
from mlstack.engines.base import BatchSource


def limited(steps: int, limit: int | float) -> int:
    """How many of `steps` batches a limit leaves: a whole number of them, or a share (of which at least one)."""
    if isinstance(limit, int):
        return min(steps, limit)
    return max(1, int(steps * limit)) if limit > 0 else 0


def total_steps(settings: TrainerConfig, batches: int) -> int:
    """Optimizer steps of the whole run for so many batches an epoch."""
    steps = math.ceil(batches / settings.accumulate_grad_batches) * settings.max_epochs
    return min(steps, settings.max_steps or steps)


@dataclass(frozen=True)
class FirstBatches:
    """The first `steps` batches of a source."""

    source: BatchSource
    steps: int

    def __len__(self) -> int:
        return self.steps

    def batch(self, epoch: int, step: int) -> Batch:
        """See `BatchSource.batch`."""
        return self.source.batch(epoch, step)
