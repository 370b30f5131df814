"""Where a run is, told to Lightning.

To Lightning a run that goes on within an epoch looks like one whose first epoch has fewer batches. Its own account of
its loops isn't used: restored within an epoch, or between an epoch's last batch and its validation, it repeats or skips
a batch or a validation.
"""

from __future__ import annotations

import pytorch_lightning as pl

from mlstack.engines.position import Position


def tell_lightning(trainer: pl.Trainer, position: Position) -> None:
    """Let a Trainer that has not begun count epochs and optimizer steps from `position`."""
    progress = trainer.fit_loop.epoch_progress
    for tracker in (progress.total, progress.current):
        tracker.ready = tracker.completed = position.epoch
        tracker.started = tracker.processed = position.epoch  # type: ignore[attr-defined]
    steps = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    for counter in (steps.total, steps.current):
        counter.ready = counter.completed = position.step
