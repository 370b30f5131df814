"""What the arguments of optimizers, losses and schedules may be: tables of rules, by name.

Defaults and meanings stand where the arguments are used: `mlstack.engines.schedules`, `.lightning.losses`, `.muon`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rule = tuple[Callable[[Any], bool], str]  # whether a value is right, and what is right in words


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_share(value: Any) -> bool:
    """A number from 0 up to, and without, 1."""
    return _is_number(value) and 0 <= value < 1


def _is_part(value: Any) -> bool:
    """A number from 0 to 1."""
    return _is_number(value) and 0 <= value <= 1


def _is_drop(value: Any) -> bool:
    """A number between 0 and 1, without both."""
    return _is_number(value) and 0 < value < 1


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_positive_or_null(value: Any) -> bool:
    return value is None or _is_positive(value)


def _is_at_least_0(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_at_least_1(value: Any) -> bool:
    return _is_number(value) and value >= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_anneal(value: Any) -> bool:
    return value in ("linear", "cosine")


def _are_betas(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_share(beta) for beta in value)


def _are_weights(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_positive, value))  # 0 would make a batch of that class 0 / 0
    return bool(value == "balanced")


def _is_weight_or_weights(value: Any) -> bool:
    return _is_positive(value) or _are_weights(value)


def _are_milestones(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not value or not all(map(_is_positive, value)):
        return False
    return sorted(set(value)) == list(value)


BETAS: Rule = (_are_betas, "two numbers from 0 to below 1: 'model.optimizer_args.betas=[0.9,0.999]'")
POSITIVE: Rule = (_is_positive, "a number > 0")
FLAG: Rule = (_is_flag, "true or false")
SHARE: Rule = (_is_share, "a number from 0 to below 1")
PART: Rule = (_is_part, "a number from 0 to 1")
AT_LEAST_1: Rule = (_is_at_least_1, "a number ≥ 1")
COUNT: Rule = (_is_count, "a whole number ≥ 1")
DROP: Rule = (_is_drop, "a number above 0 and below 1")

ADAM: dict[str, Rule] = {"betas": BETAS, "eps": POSITIVE, "amsgrad": FLAG}
OPTIMIZER_RULES: dict[str, dict[str, Rule]] = {
    "sgd": {"momentum": SHARE, "dampening": SHARE, "nesterov": FLAG},
    "adam": ADAM,
    "adamw": ADAM,
    "muon": {
        "momentum": SHARE,
        "nesterov": FLAG,
        "ns_steps": COUNT,
        "betas": BETAS,
        "eps": POSITIVE,
        "rest_learning_rate": (_is_positive_or_null, "a number > 0, or null = model.learning_rate"),
    },
}

A_WEIGHT_EACH = "balanced, or a number > 0 for each class: '[1,2.5,1]'"
LOSS_RULES: dict[str, dict[str, Rule]] = {
    "cross_entropy": {"label_smoothing": PART, "class_weights": (_are_weights, A_WEIGHT_EACH)},
    "focal": {
        "gamma": (_is_at_least_0, "a number ≥ 0"),
        "alpha": (_is_weight_or_weights, f"a number > 0, {A_WEIGHT_EACH}"),
    },
    "bce": {"pos_weight": (_are_weights, A_WEIGHT_EACH)},
    "mse": {},
    "mae": {},
    "huber": {"delta": (_is_positive, "a number > 0, in standard deviations of the target")},
}

COSINE: dict[str, Rule] = {"final_factor": PART}
SCHEDULER_RULES: dict[str, dict[str, Rule]] = {
    "constant": {},
    "step": {
        "every": (_is_positive, "a number of epochs > 0"),
        "milestones": (_are_milestones, "epochs in rising order: 'model.scheduler_args.milestones=[30,60,80]'"),
        "gamma": DROP,
    },
    "cosine": COSINE,
    "cosine_restarts": {
        "cycles": COUNT,
        "first_cycle": (_is_positive, "a number of epochs > 0"),
        "mult": AT_LEAST_1,
        **COSINE,
    },
    "warmup_cosine": COSINE,
    "one_cycle": {
        "div_factor": AT_LEAST_1,
        "final_div_factor": AT_LEAST_1,
        "anneal": (_is_anneal, "linear or cosine"),
    },
    "reduce_on_plateau": {
        "factor": DROP,
        "patience": (_is_whole, "a whole number of validations ≥ 0"),
        "min_factor": PART,
    },
}
# Two ways of saying the same: only one of them at a time.
EITHER_OR = {"step": ("every", "milestones"), "cosine_restarts": ("cycles", "first_cycle")}
