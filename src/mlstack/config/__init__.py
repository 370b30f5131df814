"""The typed schema of every setting. Composition and the command line's manners: `command_line.py`."""

from mlstack.config.compression import DistillConfig, PruneConfig
from mlstack.config.data import AugmentConfig, DataConfig
from mlstack.config.model import ModelConfig
from mlstack.config.root import Config
from mlstack.config.trainer import TrainerConfig

__all__ = [
    "AugmentConfig",
    "Config",
    "DataConfig",
    "DistillConfig",
    "ModelConfig",
    "PruneConfig",
    "TrainerConfig",
]
