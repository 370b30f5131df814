"""Learning-rate schedules as plain functions, so that every framework follows the same curve."""

from __future__ import annotations

import math

from mlstack.errors import ConfigError


def schedule_factor(name: str, step: int, *, total_steps: int, warmup_fraction: float = 0.0) -> float:
    """What the peak learning rate is multiplied by.

    constant        1
    cosine          (1 + cos(π · step / total)) / 2, from 1 to 0 (https://arxiv.org/abs/1608.03983, without restarts)
    warmup_cosine   (step + 1) / warm-up steps first, then the cosine over the rest (https://arxiv.org/abs/1706.02677)

    Args:
        name: One of the three.
        step: Optimizer steps already taken: 0 for the first.
        total_steps: Optimizer steps of the whole run.
        warmup_fraction: Share of `total_steps` in which `warmup_cosine` climbs.

    Raises:
        ConfigError: The name is unknown.
    """
    if name == "constant":
        return 1.0
    if name == "cosine":
        return _cosine(step, total_steps)
    if name == "warmup_cosine":
        warmup = round(warmup_fraction * total_steps)
        if step < warmup:
            return (step + 1) / warmup
        return _cosine(step - warmup, total_steps - warmup)
    raise ConfigError(
        f"model.scheduler={name} is unknown", key="model.scheduler", allowed=("constant", "cosine", "warmup_cosine")
    )


def _cosine(step: int, steps: int) -> float:
    progress = min(step / steps, 1.0) if steps > 0 else 1.0
    return (1 + math.cos(math.pi * progress)) / 2
