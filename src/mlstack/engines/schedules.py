"""Learning-rate schedules as plain functions, so that every framework follows the same curve.

Only `reduce_on_plateau` depends on what happens in training: `Plateau` holds its state.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlstack.config.model import SCHEDULERS
from mlstack.errors import ConfigError


@dataclass(frozen=True)
class Run:
    """What a schedule knows of a run: its length in optimizer steps, an epoch's, and `model.warmup_fraction`."""

    total_steps: int
    steps_per_epoch: int
    warmup_fraction: float


def schedule_factor(
    name: str,
    step: int,
    *,
    total_steps: int,
    steps_per_epoch: int,
    warmup_fraction: float = 0.0,
    args: Mapping[str, Any] | None = None,
) -> float:
    """What the peak learning rate is multiplied by.

    constant           1
    step               gamma (0.1) to the power of the drops so far: one `every` so many epochs, or at `milestones`
                       (a list of epochs); with neither, after half and three quarters of the run
                       (https://arxiv.org/abs/1512.03385, section 4.2)
    cosine             (1 + cos(π · step / total)) / 2, from 1 to 0, or to `final_factor`
    cosine_restarts    that cosine again and again (https://arxiv.org/abs/1608.03983), each `mult` (2) times as long as
                       the one before: `cycles` (3) of them fill the run, or the first takes `first_cycle` epochs
    warmup_cosine      (step + 1) / warm-up steps first, then the cosine over the rest (https://arxiv.org/abs/1706.02677)
    one_cycle          from 1 / `div_factor` (25) to 1, then down to 1 / (div_factor · `final_div_factor` (1e4)), which
                       the last step reaches (https://arxiv.org/abs/1708.07120); `anneal` linear, as in the paper and
                       by default, or cosine. The climb takes `warmup_fraction`: 0.05 unless set, the paper's about 0.45
    reduce_on_plateau  1 here; see `Plateau`

    Args:
        name: One of the seven.
        step: Optimizer steps already taken: 0 for the first.
        total_steps: Optimizer steps of the whole run.
        steps_per_epoch: Optimizer steps of an epoch.
        warmup_fraction: Share of `total_steps` in which `warmup_cosine` and `one_cycle` climb.
        args: The names in backquotes above (`model.scheduler_args`); `mlstack.config.passthrough` checks them.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in FACTORS:
        raise ConfigError(f"model.scheduler={name} is unknown", key="model.scheduler", allowed=SCHEDULERS)
    run = Run(total_steps, steps_per_epoch, warmup_fraction)
    return FACTORS[name](step, run, **(args or {}))


def _constant(step: int, run: Run, **_: Any) -> float:
    return 1.0


def _step(
    step: int, run: Run, *, every: float | None = None, milestones: list[float] | None = None, gamma: float = 0.1
) -> float:
    drops: int
    if every is not None:
        drops = step // max(round(every * run.steps_per_epoch), 1)
    elif milestones is not None:
        drops = bisect_right([round(epoch * run.steps_per_epoch) for epoch in milestones], step)
    else:
        drops = bisect_right([run.total_steps / 2, run.total_steps * 3 / 4], step)
    return float(gamma**drops)


def _cosine(step: float, steps: float, final_factor: float) -> float:
    progress = min(step / steps, 1.0) if steps > 0 else 1.0
    return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2


def _one_cosine(step: int, run: Run, *, final_factor: float = 0.0) -> float:
    return _cosine(step, run.total_steps, final_factor)


def _warmup_cosine(step: int, run: Run, *, final_factor: float = 0.0) -> float:
    warmup = round(run.warmup_fraction * run.total_steps)
    if step < warmup:
        return (step + 1) / warmup
    return _cosine(step - warmup, run.total_steps - warmup, final_factor)


def _cosine_restarts(
    step: int,
    run: Run,
    *,
    cycles: int = 3,
    first_cycle: float | None = None,
    mult: float = 2.0,
    final_factor: float = 0.0,
) -> float:
    if first_cycle is not None:
        length = max(first_cycle * run.steps_per_epoch, 1.0)
    elif step >= run.total_steps:
        return final_factor
    else:
        length = run.total_steps / sum(mult**cycle for cycle in range(cycles))
    since = float(step)
    while since >= length - 1e-6:  # lengths that are no whole numbers add up inexactly
        since, length = since - length, length * mult
    return _cosine(max(since, 0.0), length, final_factor)


def _one_cycle(
    step: int, run: Run, *, div_factor: float = 25.0, final_div_factor: float = 1e4, anneal: str = "linear"
) -> float:
    first, last = 1 / div_factor, 1 / (div_factor * final_div_factor)
    peak = max(run.warmup_fraction * run.total_steps - 1, 0.0)  # the step of the peak, as in torch's OneCycleLR
    start, end, progress = first, 1.0, 0.0
    if step < peak:
        progress = step / peak
    else:
        start, end = 1.0, last
        way_down = run.total_steps - 1 - peak
        progress = min((step - peak) / way_down, 1.0) if way_down > 0 else float(step > peak)
    if anneal == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return start + (end - start) * progress


FACTORS: dict[str, Callable[..., float]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _one_cosine,
    "cosine_restarts": _cosine_restarts,
    "warmup_cosine": _warmup_cosine,
    "one_cycle": _one_cycle,
    "reduce_on_plateau": _constant,
}


class Plateau:
    """A factor that shrinks when a score has stopped getting better.

    Args:
        mode: `max` or `min`: whether more or less of the score is better.
        factor: What the learning rate is multiplied by at each reduction.
        patience: Validations in a row without a new best that are borne; the next one reduces.
        min_factor: Lowest share of the peak.

    Attributes:
        share: What the peak learning rate is multiplied by now.
        best: Best score so far; None before the first.
        waited: Validations since the best one or the last reduction.
    """

    def __init__(self, *, mode: str = "max", factor: float = 0.1, patience: int = 3, min_factor: float = 0.0) -> None:
        self.sign = 1.0 if mode == "max" else -1.0
        self.factor, self.patience, self.min_factor = factor, patience, min_factor
        self.share, self.waited = 1.0, 0
        self.best: float | None = None

    def observe(self, score: float) -> None:
        """Take the score of a validation; NaN counts as no improvement."""
        if not math.isnan(score) and (self.best is None or self.sign * score > self.sign * self.best):
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.share, self.waited = max(self.share * self.factor, self.min_factor), 0

    def state_dict(self) -> dict[str, Any]:
        return {"share": self.share, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.share, self.best, self.waited = state["share"], state["best"], state["waited"]
