"""The training step. Optimisation is manual: several optimizer steps can run in one turn of Lightning's loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from mlstack.config import Config
from mlstack.engines.learning_rate import Schedule
from mlstack.engines.lightning.averaging import WeightAverage
from mlstack.engines.lightning.devices import gathered, share_buffers
from mlstack.engines.lightning.distillation import Teacher
from mlstack.engines.lightning.inference import ACTIVATIONS
from mlstack.engines.lightning.loaders import TensorBatch
from mlstack.engines.lightning.losses import l1_penalty
from mlstack.engines.lightning.meter import TorchMeter
from mlstack.engines.lightning.optimizers import build_optimizer, learning_rate, set_factor
from mlstack.engines.lightning.pruning import held_weights
from mlstack.engines.position import Plan, Position
from mlstack.engines.training_log import TrainingLog
from mlstack.models.pytorch import Classifier
from mlstack.models.pytorch.sparsity import zeros_held
from mlstack.trackers import Tracker


class TrainingModule(pl.LightningModule):
    """A network and the rule by which it learns.

    Args:
        classifier: From uint8 [batch, height, width, channel] to logits [batch, class], or values [batch, target].
        loss: From those and labels to the mean over the batch.
        config: All settings.
        plan: How much there is to do.
        position: Where the run begins.
        trackers: Where metrics go.
        metrics_path: metrics.csv, whose length goes into checkpoints.
        teacher: Whose answers count besides the labels.

    Attributes:
        record: What is written down about the training.
    """

    def __init__(
        self,
        classifier: Classifier,
        loss: nn.Module,
        config: Config,
        *,
        plan: Plan,
        position: Position,
        trackers: Sequence[Tracker],
        metrics_path: Path,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.classifier = classifier
        self.loss = loss
        self.config = config
        self.plan = plan
        self.position = position
        self.teacher = teacher
        self.average: WeightAverage | None = None
        self.record = TrainingLog(
            config,
            position=position,
            meter=TorchMeter(counts_hits=config.data.task == "classification"),
            trackers=trackers,
            metrics_path=metrics_path,
            gather=gathered,
        )
        self._answers: list[tuple[Tensor, Tensor]] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # Lightning sets it thirty times a step; nn.Module looks at each value for long
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def configure_optimizers(self) -> Optimizer:
        settings, model = self.config.trainer, self.config.model
        # Lightning's mixed precision can't clip the gradients of an optimizer that unscales them itself.
        clipped_mixed = settings.gradient_clip_val is not None and settings.precision in ("16", "bf16")
        scale = float(self.trainer.world_size) if settings.scale_learning_rate else 1.0
        optimizer = build_optimizer(model, self.classifier, fused=not clipped_mixed, scale=scale)
        self.schedule = Schedule(
            model,
            partial(set_factor, optimizer),
            total_steps=self.plan.total_steps,
            steps_per_epoch=math.ceil(self.plan.batches / settings.accumulate_grad_batches),
            mode=settings.mode,
        )
        return optimizer

    def on_fit_start(self) -> None:
        self.record.world_size = self.trainer.world_size
        if self.teacher is not None:
            self.teacher.to(self.device)
        self._sparse = held_weights(self.classifier, self.config)
        if self.config.trainer.ema_decay is not None:  # on its device by now
            self.average = WeightAverage(self.classifier, self.config.trainer.ema_decay)

    def training_step(self, group: list[TensorBatch], _: int) -> None:
        """Train on a list of batches: `accumulate_grad_batches` of them make one optimizer step."""
        size = self.config.trainer.accumulate_grad_batches
        for start in range(0, len(group), size):
            self._optimizer_step(group[start : start + size])
            if self.trainer.global_step >= self.plan.total_steps:  # trainer.max_steps, maybe in the middle of an epoch
                self.trainer.should_stop = True
                return

    def _optimizer_step(self, batches: list[TensorBatch]) -> None:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        self.schedule.set(self.trainer.global_step)
        with zeros_held(self._sparse):
            optimizer.step(closure=partial(self._gradients, optimizer.optimizer, batches))
        step = self.position.step = self.trainer.global_step
        if self.average is not None:
            self.average.update(step)
        if step % self.config.trainer.log_every_n_steps == 0:
            self.log_training()

    def _gradients(self, optimizer: Optimizer, batches: list[TensorBatch]) -> None:
        optimizer.zero_grad()
        strategy = self.trainer.strategy
        for position, (images, labels) in enumerate(batches, start=1):
            self._reseed()
            # Ranks exchange gradients once an optimizer step, with its last batch.
            waits = position < len(batches) and isinstance(strategy, ParallelStrategy)
            with strategy.block_backward_sync() if waits else nullcontext():  # type: ignore[attr-defined]
                logits = self.classifier(images)
                loss = self.loss(logits, labels)
                if self.teacher is not None:
                    loss = self.teacher.blend(loss, logits, images)
                share = self._share(len(labels)) / len(batches)
                part = loss if share == 1 else loss * share
                if position == len(batches) and self.config.model.l1:
                    part = part + self.config.model.l1 * l1_penalty(optimizer)
                self._backward(part)
            self.record.meter.add(logits.detach(), labels, loss.detach(), images=len(labels))
            self.position.batches += 1

    def _backward(self, loss: Tensor) -> None:
        """Compute gradients. Lightning's way asks every callback before and after, which takes 0.1 ms."""
        strategy = self.trainer.strategy
        if isinstance(strategy, SingleDeviceStrategy) and self.config.trainer.precision != "16":
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.manual_backward(loss)

    def _share(self, images: int) -> float:
        """What a rank's mean loss counts. See `Plan.share`."""
        ranks = self.trainer.world_size
        return self.plan.share(images, self.position.batches, world_size=ranks) if ranks > 1 else 1.0

    def _reseed(self) -> None:
        """Make dropout a function of where the run is, so that a run that goes on draws what it would have drawn."""
        seed = self.position.seed(self.config.seed, rank=self.trainer.global_rank)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # Here and not after the backward pass: with precision 16 gradients are unscaled only now.
        if (limit := self.config.trainer.gradient_clip_val) is not None:
            self.clip_gradients(optimizer, limit, self.config.trainer.gradient_clip_algorithm)

    def log_training(self, **extra: float) -> None:
        """Write the mean loss and accuracy since the last time. See `TrainingLog.log_training`."""
        self.record.rate = learning_rate(self.trainer.optimizers[0])
        self.record.log_training(**extra)

    def on_train_epoch_start(self) -> None:
        if self.position.batches:  # a run goes on in the middle of an epoch: its loader has been set
            return
        self.record.begin_epoch()
        # Before the first batch is asked for; the loader of the first epoch has started already.
        loader: Any = self.trainer.train_dataloader
        loader.set_position(self.current_epoch)
        # The first epoch of a run that goes on may have been shorter, and Lightning asks for the length only once.
        fit_loop = self.trainer.fit_loop
        fit_loop.max_batches = self.trainer.val_check_batch = len(loader)
        assert fit_loop._combined_loader is not None
        fit_loop._combined_loader.limits = [len(loader)]

    def end_epoch(self) -> None:
        """Let the position be the beginning of the next epoch: its checkpoint is written now."""
        epochs = self.config.trainer.max_epochs
        self.position.epoch, self.position.batches = self.current_epoch + 1, 0
        unfinished = self.trainer.global_step < self.plan.total_steps
        self.position.stopped = self.trainer.should_stop and unfinished and self.position.epoch < epochs

    def on_validation_start(self) -> None:
        if self.average is not None:
            self.average.swap()
        share_buffers(self.classifier)

    def validation_step(self, group: list[TensorBatch], _: int) -> None:
        activation = ACTIVATIONS[self.config.data.task]
        for images, labels in group:
            self._answers.append((activation(self.classifier(images).float()), labels))

    def on_validation_epoch_end(self) -> None:
        answers, self._answers = self._answers, []
        outputs = torch.cat([answer for answer, _ in answers]).cpu().numpy()
        labels = torch.cat([label for _, label in answers]).cpu().numpy()
        row = self.record.log_validation(outputs, labels)
        # For early stopping and checkpoints. Every rank has the same values; Lightning warns unless it averages them.
        self.log_dict(row, logger=False, sync_dist=True)
        self.schedule.observe(row[self.config.trainer.monitor])

    def on_validation_end(self) -> None:
        if self.average is not None:
            self.average.swap()

    def before_save(self) -> None:
        """Make sure that what is about to be saved is sound, and the network's own weights are in their place.

        Raises:
            TrainingError: A loss, or a weight, is NaN or infinite.
        """
        norms = torch._foreach_norm([weight.detach() for weight in self.classifier.parameters()])
        self.record.check_weights(finite=bool(torch.stack(norms).isfinite().all()))
        if self.average is not None and self.average.swapped:  # in the middle of a validation
            self.average.swap()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        del checkpoint["loops"]  # see position.py
        checkpoint.update(self.record.state_dict())
        checkpoint["schedule"] = self.schedule.state_dict()
        if self.average is not None:
            checkpoint["ema"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._restored = {name: checkpoint.get(name) for name in ("meters", "epoch_row", "schedule", "ema")}

    def on_train_start(self) -> None:
        if (restored := self.__dict__.pop("_restored", None)) is None:
            return
        self.record.load_state_dict(restored, rank=self.trainer.global_rank)
        self.schedule.load_state_dict(restored["schedule"])
        if self.average is not None and restored["ema"] is not None:
            self.average.load_state_dict(restored["ema"])
