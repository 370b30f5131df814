"""Keys that go on to somebody else's function (`model.optimizer_args`, `trainer.lightning`), checked by name.

A misspelt one would otherwise end in a TypeError of torch or Lightning, seconds later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from mlstack.config.model import ModelConfig
from mlstack.config.trainer import TrainerConfig
from mlstack.errors import ConfigError

# Arguments of pytorch_lightning.Trainer (2.6) that YAML can express and that no key of ours covers.
LIGHTNING_ARGUMENTS = (
    "barebones",
    "benchmark",
    "detect_anomaly",
    "enable_autolog_hparams",
    "enable_model_summary",
    "inference_mode",
    "limit_predict_batches",
    "max_time",
    "min_epochs",
    "min_steps",
    "model_registry",
    "num_nodes",
    "num_sanity_val_steps",
    "overfit_batches",
    "profiler",
    "val_check_interval",
)
OURS_FOR_LIGHTNING = {
    "callbacks": "trainer.early_stopping_patience",
    "default_root_dir": "output_dir",
    "enable_checkpointing": "trainer.save_top_k",
    "enable_progress_bar": "trainer.progress_bar",
    "logger": "tracker",
    "plugins": "trainer.strategy",
}


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_share(value: Any) -> bool:
    """A number from 0 up to, and without, 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _are_betas(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_share(beta) for beta in value)


Rule = tuple[Callable[[Any], bool], str]  # whether a value is right, and what is right in words
SGD_RULES: dict[str, Rule] = {
    "momentum": (_is_share, "a number from 0 to below 1"),
    "dampening": (_is_share, "a number from 0 to below 1"),
    "nesterov": (_is_flag, "true or false"),
}
ADAM_RULES: dict[str, Rule] = {
    "betas": (_are_betas, "two numbers from 0 to below 1: 'model.optimizer_args.betas=[0.9,0.999]'"),
    "eps": (_is_positive, "a number > 0"),
    "amsgrad": (_is_flag, "true or false"),
}
OPTIMIZER_RULES = {"sgd": SGD_RULES, "adam": ADAM_RULES, "adamw": ADAM_RULES}


def check_optimizer_args(model: ModelConfig) -> None:
    """Raises ConfigError for an argument that the optimizer lacks, or a value that it refuses."""
    rules = OPTIMIZER_RULES[model.optimizer]
    for name, value in model.optimizer_args.items():
        key = f"model.optimizer_args.{name}"
        if name not in rules:
            others = [other for other, known in OPTIMIZER_RULES.items() if name in known]
            hint = f"model.optimizer={others[0]} has it; ~{key} drops it" if others else _did_you_mean(name, rules)
            message = f"{key} is not an argument of model.optimizer={model.optimizer}"
            raise ConfigError(message, key=key, allowed=tuple(rules), hint=hint)
        is_right, words = rules[name]
        if not is_right(value):
            raise ConfigError(f"{key}={value} is not allowed", key=key, allowed=(words,))
    args = model.optimizer_args
    if args.get("nesterov") and (not args.get("momentum") or args.get("dampening")):
        message = "model.optimizer_args.nesterov=true needs model.optimizer_args.momentum above 0, and no dampening"
        raise ConfigError(message, key="model.optimizer_args.nesterov", hint="add model.optimizer_args.momentum=0.9")


def check_lightning(trainer: TrainerConfig) -> None:
    """Raises ConfigError for an argument that Lightning lacks, or that a key of ours decides."""
    ours = {**{name: f"trainer.{name}" for name in vars(trainer)}, **OURS_FOR_LIGHTNING}
    for name in trainer.lightning:
        key = f"trainer.lightning.{name}"
        if name in ours:
            raise ConfigError(f"{key} is decided by {ours[name]}", key=key, hint=f"set {ours[name]} instead")
        if name not in LIGHTNING_ARGUMENTS:
            message = f"{key}: pytorch_lightning.Trainer takes no such argument from here"
            raise ConfigError(
                message, key=key, allowed=LIGHTNING_ARGUMENTS, hint=_did_you_mean(name, LIGHTNING_ARGUMENTS)
            )


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}" if near else ""
