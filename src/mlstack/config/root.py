"""The root of the schema: three groups and what belongs to none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlstack.config.compression import DistillConfig, PruneConfig
from mlstack.config.data import DataConfig
from mlstack.config.keys import group, key
from mlstack.config.model import ModelConfig
from mlstack.config.trainer import TrainerConfig

TRACKERS = ("tensorboard", "wandb", "mlflow", "none")
WITH_HISTOGRAMS = ("tensorboard", "wandb")


@dataclass
class Config:
    """All settings of a training run. `configs/config.yaml` composes it."""

    model: ModelConfig = group(ModelConfig)
    data: DataConfig = group(DataConfig)
    trainer: TrainerConfig = group(TrainerConfig)
    prune: PruneConfig = group(PruneConfig)
    distill: DistillConfig = group(DistillConfig)
    seed: int = key(0, "Seed of weights, order and augmentation", minimum=0, maximum=2**32 - 1)
    tracker: str = key("tensorboard", "Where metrics go besides metrics.csv", choices=TRACKERS)
    tracker_args: dict[str, Any] = key({}, "Further arguments for the tracker, such as project or name")
    tracker_histograms: bool = key(False, "Send histograms of the weights to the tracker, once an epoch")
    resume: str | None = key(
        None, "Go on with a run that was stopped: its folder, or latest = the newest with a checkpoint", path=True
    )
    init_from: str | None = key(
        None, "Start from the weights of another run: its folder, latest, or a checkpoint", path=True
    )
    output_dir: str = key("outputs", "Folder in which run folders are made", path=True)
