"""What an engine cannot do, refused before its framework is imported.

One row for each limit, Paddle's own words for it beside the row; docs/engines.md shows them, and
tests/engines/paddle/test_limits.py asks Paddle. The sixth limit, pretrained weights that Paddle does not offer, is
read from Paddle's sources: `check_pretrained` in models/catalog.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mlstack.config.root import Config
from mlstack.config.trainer import ENGINES, TrainerConfig
from mlstack.errors import ConfigError

OTHER_ENGINES = tuple(name for name in ENGINES if name != "paddle")


class Limit(NamedTuple):
    """One setting that Paddle refuses.

    Attributes:
        key: The setting, with dots.
        applies: Whether a config asks for it.
        reason: Why Paddle cannot, in words that follow the setting.
        instead: What to type.
        afterwards: What to type after a run with another engine.
    """

    key: str
    applies: Callable[[Config], bool]
    reason: str
    instead: str
    afterwards: str = ""


PADDLE_LIMITS = (
    # ValueError: The device must be a string which is like 'cpu', 'gpu', 'gpu:x', …
    Limit(
        "trainer.accelerator",
        lambda config: config.trainer.accelerator == "mps",
        "Paddle has no such device",
        "trainer.accelerator=cpu",
    ),
    # AssertionError: group_sharded_parallel only support gpu, xpu and custom_device now
    # (and paddle.Model, which fits, wraps the network in its own DataParallel on a GPU)
    Limit(
        "trainer.strategy",
        lambda config: config.trainer.strategy.startswith(("fsdp", "deepspeed")),
        "paddle.Model keeps the whole network on each device",
        "trainer.strategy=ddp",
    ),
    # AttributeError: module 'paddle.vision.models' has no attribute …
    Limit(
        "model.name",
        lambda config: config.model.target is None and config.model.name.startswith("timm/"),
        "timm's networks are made of torch",
        "model=resnet18",
    ),
    # TypeError: Momentum.__init__() got an unexpected keyword argument 'dampening'
    Limit(
        "model.optimizer_args.dampening",
        lambda config: _is_positive(config.model.optimizer_args.get("dampening")),
        "Paddle's momentum has no dampening",
        "model.optimizer_args.dampening=0",
    ),
    # AttributeError: module 'paddle.nn.utils' has no attribute 'prune'
    Limit(
        "prune.method",
        lambda config: config.prune.ratio > 0 and config.prune.method == "structured",
        "whole channels are removed by torch-pruning, and Paddle has nothing of the kind",
        "prune.method=unstructured",
        "python scripts/convert.py",
    ),
)


def check_arguments_of_other_engines(trainer: TrainerConfig) -> None:
    """Raises ConfigError for an argument of `trainer.lightning` or `trainer.paddle` with the other engine."""
    for owner in ("lightning", "paddle"):
        given = getattr(trainer, owner)
        if given and trainer.engine != owner:
            key = f"trainer.{owner}.{next(iter(given))}"
            message = f"{key} is for trainer.engine={owner} and does not work with trainer.engine={trainer.engine}"
            other = f"type trainer.engine={owner}, or " if owner in ENGINES else ""
            raise ConfigError(message, key=key, hint=f"{other}drop {key}")


def check_engine_limits(config: Config) -> None:
    """Raises ConfigError for a setting that `trainer.engine` cannot carry out."""
    if config.trainer.engine != "paddle":
        return
    for limit in PADDLE_LIMITS:
        if limit.applies(config):
            message = (
                f"{limit.key}={_value(config, limit.key)} does not work with trainer.engine=paddle: {limit.reason}"
            )
            others = "".join(f" or trainer.engine={name}" for name in OTHER_ENGINES)
            afterwards = f", then {limit.afterwards}" if others and limit.afterwards else ""
            raise ConfigError(message, key=limit.key, hint=f"type {limit.instead}{others}{afterwards}")


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _value(config: Config, key: str) -> Any:
    """The value of a dotted key, through dataclasses and mappings."""
    value: Any = config
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value
