"""The only rooms that know a training framework. `create_engine` opens the one that the settings name."""

from mlstack.engines.base import Answers, Engine, Predictions, RunResult
from mlstack.engines.factory import create_engine

__all__ = ["Answers", "Engine", "Predictions", "RunResult", "create_engine"]
