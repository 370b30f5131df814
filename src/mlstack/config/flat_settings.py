"""All settings side by side, each under its name with dots: for trackers, and to see in what two runs differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def flat_settings(config: object) -> dict[str, Any]:
    """`{"model.learning_rate": 0.001, "trainer.lightning.benchmark": True, …}`; an empty mapping stays `{}`.

    Args:
        config: An instance of a schema, such as `Config`.
    """
    assert dataclasses.is_dataclass(config)
    assert not isinstance(config, type)
    return flatten(dataclasses.asdict(config))


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"git": {"commit": "1f"}}` as `{"git.commit": "1f"}`."""
    flat: dict[str, Any] = {}
    for name, value in mapping.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
