"""Check a composed config: each key against its limits, then keys against each other."""

from __future__ import annotations

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from mlstack.config.contradictions import check_contradictions
from mlstack.config.keys import Key, walk
from mlstack.config.mistakes import has_to_be_given
from mlstack.config.suggestions import nearest
from mlstack.errors import ConfigError


def check(config: object) -> None:
    """Resolve aliases and `~` in place, then check everything.

    Args:
        config: An instance of one of the schemas.

    Raises:
        ConfigError: For the first value out of its limits, or the first contradiction.
    """
    assert is_dataclass(config) and not isinstance(config, type)
    for key in walk(type(config)):
        owner = _owner(config, key)
        name = key.name.rpartition(".")[2]
        value = _resolve(key, getattr(owner, name))
        setattr(owner, name, value)
        for each in value if isinstance(value, list) else [value]:
            _check_value(key, each)
    check_contradictions(config)


def _owner(config: object, key: Key) -> Any:
    """The dataclass instance that holds a key: `config.data.augment` for `data.augment.flip`."""
    owner = config
    for part in key.name.split(".")[:-1]:
        owner = getattr(owner, part)
    return owner


def _resolve(key: Key, value: Any) -> Any:
    """Another spelling becomes the choice that it stands for, `~/photos` the folder that it stands for."""
    if isinstance(value, list):
        return [_resolve(key, each) for each in value]
    if not isinstance(value, str):
        return value
    if key.limits.path:
        # Only what a shell would expand; any other path stays letter for letter, `~backup` and `photos/` too.
        return str(Path(value).expanduser()) if value == "~" or value.startswith("~/") else value
    return key.limits.aliases.get(value, value)


def _check_value(key: Key, value: Any) -> None:
    limits = key.limits
    if isinstance(value, str):
        if not value.strip():
            raise has_to_be_given(key.name)
        if limits.choices and value not in limits.choices:
            near = nearest(value, (*limits.choices, *limits.aliases))
            hint = f"did you mean {key.name}={limits.aliases.get(near, near)}" if near else ""
            raise ConfigError(f"{key.name}={value} is not a choice", key=key.name, allowed=limits.choices, hint=hint)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not limits.accepts(value):
        allowed = limits.describe() or "a finite number"
        unit = f" ({key.unit})" if key.unit else ""
        raise ConfigError(f"{key.name}={value} is out of range", key=key.name, allowed=(allowed + unit,))
