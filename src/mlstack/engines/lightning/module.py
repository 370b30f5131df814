"""The training step. Optimisation is manual: several optimizer steps can run in one turn of Lightning's loop."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from mlstack.config import Config
from mlstack.engines.lightning.loaders import TensorBatch
from mlstack.engines.lightning.optimizers import build_optimizer, build_schedule
from mlstack.metrics import classification_metrics
from mlstack.models.pytorch import Classifier

BATCHES_AT_ONCE = 16  # whose answers wait to be counted together


class TrainingModule(pl.LightningModule):
    """A classifier and the rule by which it learns.

    Args:
        classifier: From uint8 [batch, height, width, channel] to logits [batch, class].
        config: All settings.
        total_steps: Optimizer steps of the whole run, for the schedule.
        images_per_epoch: Training images over all devices, for the progress bar.
    """

    def __init__(self, classifier: Classifier, config: Config, *, total_steps: int, images_per_epoch: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.classifier = classifier
        self.config = config
        self.total_steps = total_steps
        self.images_per_epoch = images_per_epoch
        self.loss = nn.CrossEntropyLoss()
        self.meter = TrainingMeter()
        self._answers: list[tuple[Tensor, Tensor]] = []
        self._epoch_row: dict[str, float] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # Lightning sets it thirty times a step; nn.Module looks at each value for long
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trainer = self.config.trainer
        # Lightning's mixed precision can't clip the gradients of an optimizer that unscales them itself.
        clipped_mixed = trainer.gradient_clip_val is not None and trainer.precision in ("16", "bf16")
        optimizer = build_optimizer(self.config.model, self.parameters(), fused=not clipped_mixed)
        self.schedule = build_schedule(self.config.model, optimizer, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.schedule, "interval": "step"}}

    def training_step(self, group: list[TensorBatch], _: int) -> None:
        """Train on a list of batches: `accumulate_grad_batches` of them make one optimizer step."""
        size = self.config.trainer.accumulate_grad_batches
        for start in range(0, len(group), size):
            self._optimizer_step(group[start : start + size])
            if self.trainer.global_step >= self.total_steps:  # trainer.max_steps, maybe in the middle of an epoch
                self.trainer.should_stop = True
                return

    def _optimizer_step(self, batches: list[TensorBatch]) -> None:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.step(closure=partial(self._gradients, optimizer.optimizer, batches))
        self.schedule.step()
        step = self.trainer.global_step
        if step % self.config.trainer.log_every_n_steps == 0:
            self.log_training()

    def _gradients(self, optimizer: Optimizer, batches: list[TensorBatch]) -> None:
        optimizer.zero_grad()
        strategy = self.trainer.strategy
        for position, (images, labels) in enumerate(batches, start=1):
            # Ranks exchange gradients once an optimizer step, with its last batch.
            waits = position < len(batches) and isinstance(strategy, ParallelStrategy)
            with strategy.block_backward_sync() if waits else nullcontext():  # type: ignore[attr-defined]
                logits = self.classifier(images)
                loss = self.loss(logits, labels)
                self.manual_backward(loss if len(batches) == 1 else loss / len(batches))
            self.meter.add(logits.detach(), labels, loss.detach())

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # Here and not after the backward pass: with precision 16 gradients are unscaled only now.
        if (limit := self.config.trainer.gradient_clip_val) is not None:
            self.clip_gradients(optimizer, limit, self.config.trainer.gradient_clip_algorithm)

    def log_training(self, **extra: float) -> None:
        """Write the mean loss and accuracy since the last time. Reads from the device, so not every step."""
        row = {**self.meter.read(), **extra}
        if row:
            self._write({"learning_rate": float(self.schedule.get_last_lr()[0]), **row})

    def on_train_epoch_start(self) -> None:
        self._epoch_row = {}
        # Before the first batch is asked for; the loader of the first epoch has started already, at epoch 0.
        self.trainer.train_dataloader.set_epoch(self.current_epoch)  # type: ignore[union-attr]

    def epoch_summary(self) -> dict[str, float]:
        """The last values that this epoch wrote, its training loss and accuracy as means over the whole epoch."""
        return {**self._epoch_row, **self.meter.epoch()}

    def validation_step(self, group: list[TensorBatch], _: int) -> None:
        for images, labels in group:
            self._answers.append((self.classifier(images).float().softmax(dim=1), labels))

    def on_validation_epoch_end(self) -> None:
        probabilities, labels = self._gathered_answers()
        scores = classification_metrics(probabilities, labels)
        row = {f"val_{name}": math.nan if value is None else value for name, value in scores.items()}
        # For early stopping and checkpoints. Every rank has the same values; Lightning warns unless it averages them.
        self.log_dict(row, logger=False, sync_dist=True)
        self._write({name: value for name, value in row.items() if not math.isnan(value)})

    def _gathered_answers(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Probabilities [n, class] and labels [n] of all ranks."""
        answers, self._answers = self._answers, []
        probabilities = torch.cat([answer for answer, _ in answers]).cpu().numpy()
        labels = torch.cat([label for _, label in answers]).cpu().numpy()
        if self.trainer.world_size == 1:
            return probabilities, labels
        parts: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(parts, (probabilities, labels))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _write(self, row: dict[str, float]) -> None:
        self._epoch_row.update(row)
        for logger in self.trainer.loggers:
            logger.log_metrics({"epoch": self.current_epoch, **row}, step=self.trainer.global_step)


class TrainingMeter:
    """Sums of loss and hits that stay on the device until somebody reads them.

    Batches wait until there are some, so that most steps don't pay for small operations (0.05 ms on a CPU).
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._sums: Tensor | None = None  # float32 [2]: loss, hits
        self._images = 0
        self._epoch = np.zeros(3)  # loss, hits, images of this epoch so far

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Count one batch: logits [batch, class], labels int64 [batch], its mean loss."""
        self._waiting.append((logits, labels, loss))
        if len(self._waiting) == BATCHES_AT_ONCE:
            self._count()

    def _count(self) -> None:
        logits, labels, losses = zip(*self._waiting, strict=True)
        self._waiting = []
        hits = (torch.cat(logits).argmax(dim=1) == torch.cat(labels)).sum()
        loss = torch.stack([loss * len(batch) for loss, batch in zip(losses, labels, strict=True)]).sum()
        sums = torch.stack([loss.float(), hits.float()])
        self._sums = sums if self._sums is None else self._sums + sums
        self._images += sum(map(len, labels))

    def read(self) -> dict[str, float]:
        """Means since the last reading; empty if nothing came in. Waits for the device."""
        if self._waiting:
            self._count()
        if self._sums is None:
            return {}
        sums = np.array([*self._sums.tolist(), self._images])
        self._sums, self._images = None, 0
        self._epoch += sums
        return _means(sums)

    def epoch(self) -> dict[str, float]:
        """Means over the epoch, up to the last reading; starts a new one."""
        means, self._epoch = _means(self._epoch), np.zeros(3)
        return means


def _means(sums: NDArray[np.float64]) -> dict[str, float]:
    loss, hits, images = sums.tolist()
    return {"train_loss": loss / images, "train_accuracy": hits / images} if images else {}
