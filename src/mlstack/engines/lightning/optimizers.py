"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mlstack.config import ModelConfig
from mlstack.engines.schedules import schedule_factor
from mlstack.errors import ConfigError

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def build_optimizer(config: ModelConfig, parameters: Iterable[nn.Parameter], *, fused: bool) -> Optimizer:
    """The optimizer that `model.optimizer` names, over the parameters that learn.

    Args:
        config: The `model` settings.
        parameters: All parameters of the network; frozen ones are left out.
        fused: One kernel for the whole update (1.15 to 1.28 × as fast on a CPU).

    Raises:
        ConfigError: The optimizer refuses its arguments, or every parameter is frozen.
    """
    arguments = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config.optimizer_args.items()
    }
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not learning:
        raise ConfigError(
            "there is nothing to learn: every weight of the network is frozen",
            key="model.freeze_backbone",
            hint="type model.freeze_backbone=false, or give your network a last linear layer",
        )
    try:
        return OPTIMIZERS[config.optimizer](
            learning, lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused, **arguments
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model.optimizer={config.optimizer} refuses model.optimizer_args={config.optimizer_args}: {error}",
            key="model.optimizer_args",
        ) from error


def build_schedule(config: ModelConfig, optimizer: Optimizer, *, total_steps: int) -> LambdaLR:
    """The schedule that `model.scheduler` names; to be stepped after each optimizer step."""
    factor = partial(_factor, config.scheduler, total_steps, config.warmup_fraction)
    return LambdaLR(optimizer, factor)


def _factor(name: str, total_steps: int, warmup_fraction: float, step: int) -> float:
    return schedule_factor(name, step, total_steps=total_steps, warmup_fraction=warmup_fraction)
