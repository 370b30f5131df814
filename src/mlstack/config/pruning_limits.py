"""Settings of `prune` and `model.pruned` that can't work: what is pruned has to be trained before, and after."""

from __future__ import annotations

from mlstack.config.root import Config
from mlstack.errors import ConfigError


def check_pruning(config: Config) -> None:
    """Raises ConfigError for pruning without weights that come in, or without training after it."""
    prune, strategy = config.prune, config.trainer.strategy
    comes_in = config.init_from is not None or config.resume is not None
    if prune.ratio and not comes_in:
        message = f"prune.ratio={prune.ratio} takes weights out of a trained network, and init_from names none"
        hint = "train it first, then add init_from=latest, or another run's folder"
        raise ConfigError(message, key="prune.ratio", hint=hint)
    if config.model.pruned and not comes_in:
        message = "model.pruned=true takes its layers' widths from weights that come in, and init_from names none"
        hint = "leave model.pruned away: prune.ratio and init_from set it"
        raise ConfigError(message, key="model.pruned", hint=hint)
    if prune.ratio and config.model.freeze_backbone:
        message = f"prune.ratio={prune.ratio} and model.freeze_backbone=true contradict each other"
        hint = "what is pruned has to learn again: type model.freeze_backbone=false"
        raise ConfigError(message, key="prune.ratio", hint=hint)
    if prune.ratio and prune.method == "unstructured" and strategy.startswith(("fsdp", "deepspeed")):
        message = f"prune.method=unstructured needs whole layers on a device; trainer.strategy={strategy} divides them"
        raise ConfigError(message, key="prune.method", hint="type prune.method=structured or trainer.strategy=ddp")
