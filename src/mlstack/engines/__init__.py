"""The only rooms that know a training framework. `create_engine` opens the one that the settings name."""

from mlstack.engines.base import Engine, Predictions, RunResult
from mlstack.engines.factory import create_engine

__all__ = ["Engine", "Predictions", "RunResult", "create_engine"]
