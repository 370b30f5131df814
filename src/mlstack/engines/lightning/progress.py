"""Stopwatch, progress bar and epoch lines as callbacks of Lightning."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mlstack.engines.lightning.devices import gpu_utilization
from mlstack.engines.lightning.loaders import TensorBatch
from mlstack.engines.lightning.module import TrainingModule
from mlstack.engines.progress import SAMPLED_EVERY, RunBar, Stopwatch, epoch_line
from mlstack.utils.console import say


class Speed(Callback):
    """Counts training images and the time that training alone took."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def state_dict(self) -> dict[str, Any]:
        return self.watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.watch.load_state_dict(state_dict)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.watch.start_epoch(pl_module.position)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: list[TensorBatch], batch_idx: int
    ) -> None:
        self.watch.count(sum(len(labels) for _, labels in batch) * trainer.world_size)
        if batch_idx % SAMPLED_EVERY == SAMPLED_EVERY - 1:
            self.watch.sample(gpu_utilization(pl_module.device))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._stop(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._stop(pl_module)

    def _stop(self, module: TrainingModule) -> None:
        if not self.watch.is_running:
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        module.log_training(images_per_second=self.watch.stop_epoch())


class RunProgress(Callback):
    """One bar over the whole run with images/s and the time left; one line an epoch that stays."""

    def __init__(self) -> None:
        self.bar: RunBar | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.bar = RunBar(pl_module.plan, pl_module.position, epochs=trainer.max_epochs or 1)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is not None:
            self.bar.start_epoch(trainer.current_epoch + 1)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: list[TensorBatch], batch_idx: int
    ) -> None:
        if self.bar is not None and self.bar.bar is not None:
            self.bar.update(sum(len(labels) for _, labels in batch) * trainer.world_size)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            say(epoch_line(trainer.current_epoch + 1, trainer.max_epochs or 0, pl_module.record.epoch_summary()))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
