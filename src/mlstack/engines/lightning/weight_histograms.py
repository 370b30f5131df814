"""Histograms of the weights, once an epoch."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from mlstack.engines.lightning.module import TrainingModule
from mlstack.trackers import log_histograms


class WeightHistograms(Callback):
    """`tracker_histograms=true`: record them at the end of each epoch. Without this callback they cost nothing."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        named = pl_module.classifier.named_parameters()
        arrays = ((name, weight.detach().float().cpu().numpy()) for name, weight in named)
        log_histograms(pl_module.record.trackers, arrays, step=trainer.global_step)
