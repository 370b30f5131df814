"""What a person sees while a run goes on, and how fast it went."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from tqdm import tqdm

from mlstack.engines.lightning.devices import gpu_utilization
from mlstack.engines.lightning.loaders import TensorBatch
from mlstack.engines.lightning.module import TrainingModule
from mlstack.utils.console import say

SAMPLED_EVERY = 20  # batches between two samples of the GPU's utilisation; one takes well below a millisecond


class Speed(Callback):
    """Counts training images and the time that training alone took.

    Attributes:
        images: Images that all devices together have trained on.
        seconds: Wall time of the training parts of all epochs, validation and checkpoints not counted.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._epoch_images = 0
        self._started: float | None = None
        self._utilization: list[float] = []

    @property
    def gpu_utilization(self) -> float | None:
        """Mean over the samples, 0 to 1; None on a CPU."""
        return sum(self._utilization) / len(self._utilization) if self._utilization else None

    @property
    def images_per_second(self) -> float:
        """Over all devices; 0 before the first epoch is over."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_images = 0
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: list[TensorBatch], batch_idx: int
    ) -> None:
        self._epoch_images += sum(len(labels) for _, labels in batch)
        if batch_idx % SAMPLED_EVERY == SAMPLED_EVERY - 1:
            busy = gpu_utilization(pl_module.device)
            self._utilization += [] if busy is None else [busy]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._stop(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._stop(trainer, pl_module)

    def _stop(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Stop the clock of this epoch, once: before its validation, or at its end if it has none."""
        if self._started is None:
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self._started
        self._started = None
        images = self._epoch_images * trainer.world_size
        self.images += images
        self.seconds += seconds
        module.log_training(images_per_second=images / seconds)


class RunProgress(Callback):
    """One bar over the whole run with images/s and the time left; one line an epoch that stays."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and sys.stderr.isatty():
            bar_format = "{desc} {percentage:3.0f}% |{bar}| {rate_fmt}, {remaining} left"
            images = pl_module.images_per_epoch * (trainer.max_epochs or 1)
            self.bar = tqdm(
                total=images, unit=" images", unit_scale=True, leave=False, dynamic_ncols=True, bar_format=bar_format
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is not None:
            self.bar.set_description_str(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: list[TensorBatch], batch_idx: int
    ) -> None:
        if self.bar is not None:
            self.bar.update(sum(len(labels) for _, labels in batch) * trainer.world_size)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            say(epoch_line(trainer.current_epoch + 1, trainer.max_epochs or 0, pl_module.epoch_summary()))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def epoch_line(epoch: int, epochs: int, row: dict[str, float]) -> str:
    """An epoch in one line: `epoch  3/10   train loss 0.2140 accuracy 0.9310   val loss …   1,350 images/s`."""
    scores = [
        f"{split} loss {row.get(f'{split}_loss', math.nan):.4f} accuracy {row[f'{split}_accuracy']:.4f}"
        for split in ("train", "val")
        if f"{split}_accuracy" in row
    ]
    number = f"{epoch:{len(str(epochs))}}/{epochs}"
    return "   ".join([f"epoch {number}", *scores, f"{row['images_per_second']:,.0f} images/s"])
