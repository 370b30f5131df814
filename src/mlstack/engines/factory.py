"""From the name of an engine to the engine; its framework is imported then and not before."""

from __future__ import annotations

from mlstack.engines.base import Engine
from mlstack.errors import ConfigError


def create_engine(name: str) -> Engine:
    """The engine that `trainer.engine` names. Imports its framework.

    Raises:
        ConfigError: There is no such engine.
    """
    if name == "lightning":
        from mlstack.engines.lightning import LightningEngine

        return LightningEngine()
    raise ConfigError(f"trainer.engine={name} is unknown", key="trainer.engine", allowed=("lightning",))
