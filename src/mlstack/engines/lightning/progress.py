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

SHOWN = ("accuracy", "f1", "mae")  # of a task's metrics the first that was measured stands in an epoch's line
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
        self._closed = False  # whether the epoch in which a run goes on has its speed written already
        self._utilization: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        going_on = time.perf_counter() - self._started if self._started is not None else 0.0
        return {
            "images": self.images + self._epoch_images,
            "seconds": self.seconds + going_on,
            "closed": self._started is None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]
        self._closed = state_dict["closed"]

    @property
    def gpu_utilization(self) -> float | None:
        """Mean over the samples, 0 to 1; None on a CPU."""
        return sum(self._utilization) / len(self._utilization) if self._utilization else None

    @property
    def images_per_second(self) -> float:
        """Over all devices; 0 before the first epoch is over."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._epoch_images = 0
        if not (pl_module.position.batches and self._closed):
            self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: list[TensorBatch], batch_idx: int
    ) -> None:
        self._epoch_images += sum(len(labels) for _, labels in batch) * trainer.world_size
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
        images, self._epoch_images = self._epoch_images, 0
        self.images += images
        self.seconds += seconds
        module.log_training(images_per_second=images / seconds)


class RunProgress(Callback):
    """One bar over the whole run with images/s and the time left; one line an epoch that stays."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and sys.stderr.isatty():
            position = pl_module.position
            done = pl_module.plan.images * position.epoch + sum(pl_module.plan.global_sizes[: position.batches])
            bar_format = "{desc} {percentage:3.0f}% |{bar}| {rate_fmt}, {remaining} left"
            images = pl_module.plan.images * (trainer.max_epochs or 1)
            self.bar = tqdm(
                total=images,
                initial=done,
                unit=" images",
                unit_scale=True,
                leave=False,
                dynamic_ncols=True,
                bar_format=bar_format,
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
    scores = []
    for split in ("train", "val"):
        names = ["loss", *[name for name in SHOWN if f"{split}_{name}" in row][:1]]
        figures = [f"{name} {row.get(f'{split}_{name}', math.nan):.4f}" for name in names]
        measured = any(f"{split}_{name}" in row for name in names)
        scores += [" ".join([split, *figures])] if measured else []
    number = f"{epoch:{len(str(epochs))}}/{epochs}"
    return "   ".join([f"epoch {number}", *scores, f"{row['images_per_second']:,.0f} images/s"])
