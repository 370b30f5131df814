"""PyTorch Lightning: training with checkpoints and trackers, prediction with plain PyTorch."""

from mlstack.engines.lightning.engine import LightningEngine

__all__ = ["LightningEngine"]
