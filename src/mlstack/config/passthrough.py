"""Keys that go on to a function (`model.optimizer_args`, `trainer.lightning`, …), checked by name and value.

A misspelt one would otherwise end in a TypeError of torch, Lightning or Paddle, seconds later.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from mlstack.config.argument_rules import EITHER_OR, LOSS_RULES, OPTIMIZER_RULES, SCHEDULER_RULES, Rule
from mlstack.config.model import LOSSES, ModelConfig
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
)
OURS_FOR_LIGHTNING = {
    "callbacks": "trainer.early_stopping_patience",
    "default_root_dir": "output_dir",
    "enable_checkpointing": "trainer.save_top_k",
    "enable_progress_bar": "trainer.progress_bar",
    "logger": "tracker",
    "plugins": "trainer.strategy",
    "val_check_interval": "trainer.check_val_every_n_epoch",
}
FLAG_PREFIX = "FLAGS_"


def check_optimizer_args(model: ModelConfig) -> None:
    """Raises ConfigError for an argument that the optimizer lacks, or a value that it refuses."""
    _check("optimizer", model.optimizer, model.optimizer_args, rules=OPTIMIZER_RULES)
    args = model.optimizer_args
    if args.get("nesterov") and (not args.get("momentum", model.optimizer == "muon") or args.get("dampening")):
        message = "model.optimizer_args.nesterov=true needs model.optimizer_args.momentum above 0, and no dampening"
        raise ConfigError(message, key="model.optimizer_args.nesterov", hint="add model.optimizer_args.momentum=0.9")


def check_loss_args(model: ModelConfig, task: str | None = None) -> None:
    """Raises ConfigError for an argument that the loss lacks, or a value that it refuses.

    Args:
        model: The `model` settings.
        task: `data.task`, which says what `model.loss=auto` means. Without it, the arguments of whatever `auto` may
            mean are allowed.
    """
    rules = dict(LOSS_RULES)
    defaults = [losses[0] for name, losses in LOSSES.items() if task in (None, name)]
    rules["auto"] = {argument: rule for loss in defaults for argument, rule in LOSS_RULES[loss].items()}
    _check("loss", model.loss, model.loss_args, rules=rules)


def check_scheduler_args(model: ModelConfig) -> None:
    """Raises ConfigError for an argument that the schedule lacks, a value that it refuses, or two that clash."""
    _check("scheduler", model.scheduler, model.scheduler_args, rules=SCHEDULER_RULES)
    one, other = EITHER_OR.get(model.scheduler, ("", ""))
    if one in model.scheduler_args and other in model.scheduler_args:
        keys = [f"model.scheduler_args.{name}" for name in (one, other)]
        raise ConfigError(f"{' and '.join(keys)} contradict each other", key=keys[1], hint=f"~{keys[1]} drops one")


def _check(kind: str, choice: str, args: dict[str, Any], *, rules: dict[str, dict[str, Rule]]) -> None:
    """Every name and value of `model.<kind>_args` against the rules of `model.<kind>`."""
    known = rules[choice]
    for name, value in args.items():
        key = f"model.{kind}_args.{name}"
        if name not in known:
            others = [other for other, arguments in rules.items() if name in arguments and other != "auto"]
            hint = f"model.{kind}={others[0]} has it; ~{key} drops it" if others else _did_you_mean(name, known)
            message = f"{key} is not an argument of model.{kind}={choice}"
            raise ConfigError(message, key=key, allowed=tuple(known), hint=hint or f"~{key} drops it")
        is_right, words = known[name]
        if not is_right(value):
            raise ConfigError(f"{key}={value} is not allowed", key=key, allowed=(words,))


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


def check_paddle(trainer: TrainerConfig) -> None:
    """Raises ConfigError for what cannot be a flag of Paddle; which flags there are is known to Paddle alone."""
    for name, value in trainer.paddle.items():
        key = f"trainer.paddle.{name}"
        if not name.startswith(FLAG_PREFIX):
            hint = f"set trainer.{name} instead" if name in vars(trainer) else "its flags are called FLAGS_…"
            raise ConfigError(f"{key} is not one of Paddle's own flags", key=key, hint=hint)
        if not isinstance(value, bool | int | float | str):
            allowed = ("true or false", "a number", "text")
            raise ConfigError(f"{key}={value} is not allowed", key=key, allowed=allowed)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}" if near else ""
