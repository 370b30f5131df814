"""The learning rate at each step: what carries a schedule through a run, whichever framework trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlstack.config import ModelConfig
from mlstack.engines.schedules import Plateau, schedule_factor


class Schedule:
    """Sets the learning rates of an optimizer, by `model.scheduler`.

    Args:
        config: The `model` settings.
        set_factor: Sets the rate of each group of the optimizer to so many times its peak.
        total_steps: Optimizer steps of the whole run.
        steps_per_epoch: Optimizer steps of an epoch.
        mode: `max` or `min`: whether more or less of the monitored metric is better, for `reduce_on_plateau`.
    """

    def __init__(
        self,
        config: ModelConfig,
        set_factor: Callable[[float], None],
        *,
        total_steps: int,
        steps_per_epoch: int,
        mode: str = "max",
    ) -> None:
        self.config, self.set_factor = config, set_factor
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        on_plateau = config.scheduler == "reduce_on_plateau"
        self.plateau = Plateau(mode=mode, **config.scheduler_args) if on_plateau else None
        self.step = 0
        self.set(0)

    def set(self, step: int) -> None:
        """Set the rates for optimizer step number `step`, counted from 0."""
        self.step = step
        self.set_factor(self._factor(step))

    def _factor(self, step: int) -> float:
        if self.plateau is not None:
            return self.plateau.share
        return schedule_factor(
            self.config.scheduler,
            step,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            warmup_fraction=self.config.warmup_fraction,
            args=self.config.scheduler_args,
        )

    def observe(self, score: float) -> None:
        """Take the monitored metric after a validation. Only `reduce_on_plateau` looks at it, and at once."""
        if self.plateau is not None:
            self.plateau.observe(score)
            self.set(self.step)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"step": self.step, "plateau": self.plateau.state_dict() if self.plateau else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.plateau is not None and state["plateau"] is not None:
            self.plateau.load_state_dict(state["plateau"])
        self.set(state["step"])
