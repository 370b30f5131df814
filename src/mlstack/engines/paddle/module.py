"""The training step, as a `paddle.Model` whose `fit` goes through the epochs."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from mlstack.config import Config
from mlstack.engines.learning_rate import Schedule
from mlstack.engines.paddle.averaging import WeightAverage
from mlstack.engines.paddle.devices import gathered, rank, share_buffers
from mlstack.engines.paddle.distillation import Teacher
from mlstack.engines.paddle.inference import ACTIVATIONS
from mlstack.engines.paddle.loaders import TensorBatch
from mlstack.engines.paddle.losses import l1_penalty
from mlstack.engines.paddle.meter import PaddleMeter
from mlstack.engines.paddle.optimizers import build_optimizer
from mlstack.engines.paddle.precision import autocast
from mlstack.engines.paddle.pruning import held_weights
from mlstack.engines.position import Plan, Position
from mlstack.engines.training_log import TrainingLog
from mlstack.models.paddle import Classifier
from mlstack.models.paddle.sparsity import zeros_held
from mlstack.trackers import Tracker


class TrainingModel(paddle.Model):
    """A network and the rule by which it learns.

    Args:
        classifier: From uint8 [batch, height, width, channel] to logits [batch, class], or values [batch, target].
        loss: From those and labels to the mean over the batch.
        config: All settings.
        plan: How much there is to do.
        position: Where the run begins.
        trackers: Where metrics go.
        metrics_path: metrics.csv, whose length goes into checkpoints.
        world_size: Processes that share the work.
        teacher: Whose answers count besides the labels.

    Attributes:
        record: What is written down about the training.
    """

    def __init__(
        self,
        classifier: Classifier,
        loss: nn.Layer,
        config: Config,
        *,
        plan: Plan,
        position: Position,
        trackers: Sequence[Tracker],
        metrics_path: Path,
        world_size: int = 1,
        teacher: Teacher | None = None,
    ) -> None:
        unused = config.trainer.strategy == "ddp_find_unused_parameters_true"
        # With several ranks it connects them, which they are, and says on stderr which flags Paddle itself has changed.
        with _looking_for_unused_parameters() if unused else nullcontext(), contextlib.redirect_stderr(io.StringIO()):
            super().__init__(classifier, inputs=InputSpec([None, None, None, None], "uint8", "images"))
        self.classifier, self.loss, self.config = classifier, loss, config
        self.plan, self.position = plan, position
        self.rank, self.world_size = rank(), world_size
        self.teacher = teacher
        settings, model = config.trainer, config.model
        self.optimizer = build_optimizer(
            model, classifier, scale=float(world_size) if settings.scale_learning_rate else 1.0
        )
        self.prepare(self.optimizer)
        self.schedule = Schedule(
            model,
            self.optimizer.set_factor,
            total_steps=plan.total_steps,
            steps_per_epoch=math.ceil(plan.batches / settings.accumulate_grad_batches),
            mode=settings.mode,
        )
        self.average = None if settings.ema_decay is None else WeightAverage(classifier, settings.ema_decay)
        self.scaler = paddle.amp.GradScaler() if settings.precision == "16" else None
        self.record = TrainingLog(
            config,
            position=position,
            meter=PaddleMeter(counts_hits=config.data.task == "classification"),
            trackers=trackers,
            metrics_path=metrics_path,
            gather=gathered,
            world_size=world_size,
        )
        self._sparse = held_weights(classifier, config)
        self._answers: list[tuple[Tensor, Tensor]] = []
        self.stop_training = False

    @property
    def weights(self) -> dict[str, Tensor]:
        """The network's parameters by name, without batch-norm statistics, which Paddle counts among them."""
        named = self.classifier.named_parameters()
        return {name: weight for name, weight in named if not name.endswith(("._mean", "._variance"))}

    @property
    def is_over(self) -> bool:
        """Whether every optimizer step has been taken: `trainer.max_steps` may end in the middle of an epoch."""
        return self.position.step >= self.plan.total_steps

    def train_batch(self, inputs: Any, labels: Any = None, update: bool = True) -> list[Any]:
        """Train on a group of batches: `accumulate_grad_batches` of them make one optimizer step.

        Args:
            inputs: `paddle.Model.fit` lays the group out flat; here is what it takes for its input,
            labels: and here the rest: labels, images, labels, …
            update: Not used: the group says where an optimizer step ends.
        """
        flat = [*inputs, *labels]
        group = list(zip(flat[::2], flat[1::2], strict=True))
        size = self.config.trainer.accumulate_grad_batches
        for start in range(0, len(group), size):
            self._optimizer_step(group[start : start + size])
            if self.is_over:
                break
        return []

    def _optimizer_step(self, batches: list[TensorBatch]) -> None:
        self.schedule.set(self.position.step)
        for number, (images, labels) in enumerate(batches, start=1):
            self._gradients(images, labels, parts=len(batches), is_last=number == len(batches))
        with zeros_held(self._sparse):
            self._update()
        self.position.step += 1
        if self.average is not None:
            self.average.update(self.position.step)
        if self.position.step % self.config.trainer.log_every_n_steps == 0:
            self.log_training()

    def _gradients(self, images: Tensor, labels: Tensor, *, parts: int, is_last: bool) -> None:
        """Add the gradients of one batch to those of the batches before it."""
        self._reseed()
        network = self._adapter.ddp_model if self.world_size > 1 else self.classifier
        count = images.shape[0]
        # Ranks exchange gradients once an optimizer step, with its last batch.
        with network.no_sync() if self.world_size > 1 and not is_last else nullcontext():
            with autocast(self.config.trainer.precision):
                logits = network(images)
            loss = self.loss(logits, labels)
            if self.teacher is not None:
                loss = self.teacher.blend(loss, logits, images)
            share = self._share(count) / parts
            part = loss if share == 1 else loss * share
            if is_last and self.config.model.l1:
                part = part + self.config.model.l1 * l1_penalty(self.optimizer.shrunk)
            (part if self.scaler is None else self.scaler.scale(part)).backward()
        self.record.meter.add(logits.detach(), labels, loss.detach(), images=count)
        self.position.batches += 1

    def _update(self) -> None:
        """Clip the gradients, take the step, forget them."""
        scaler = self.scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if (limit := self.config.trainer.gradient_clip_val) is not None:
            by_norm = self.config.trainer.gradient_clip_algorithm == "norm"
            clip = nn.utils.clip_grad_norm_ if by_norm else nn.utils.clip_grad_value_
            clip(self.optimizer.parameters, limit)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self.optimizer.clear_grad()

    def _share(self, images: int) -> float:
        """What a rank's mean loss counts. See `Plan.share`."""
        ranks = self.world_size
        return self.plan.share(images, self.position.batches, world_size=ranks) if ranks > 1 else 1.0

    def _reseed(self) -> None:
        """Make dropout a function of where the run is, so that a run that goes on draws what it would have drawn."""
        paddle.seed(self.position.seed(self.config.seed, rank=self.rank))

    def log_training(self, **extra: float) -> None:
        """Write the mean loss and accuracy since the last time. See `TrainingLog.log_training`."""
        self.record.rate = self.optimizer.rate
        self.record.log_training(**extra)

    def begin_epoch(self) -> None:
        """Before its first batch, or the first one of those that are left."""
        self.classifier.train()
        if not self.position.batches:
            self.record.begin_epoch()

    def end_epoch(self) -> None:
        """Let the position be the beginning of the next epoch: its checkpoint is written now."""
        self.position.epoch, self.position.batches = self.position.epoch + 1, 0
        unfinished = not self.is_over and self.position.epoch < self.config.trainer.max_epochs
        self.position.stopped = self.stop_training and unfinished
        self.stop_training = self.stop_training or self.is_over

    def begin_validation(self) -> None:
        """Exchange the weights for their average, if there is one."""
        self.classifier.eval()
        if self.average is not None:
            self.average.swap()
        share_buffers(self.classifier)

    @paddle.no_grad()
    def eval_batch(self, inputs: Any, labels: Any = None) -> list[Any]:
        """Answer for a list of batches, laid out as for `train_batch`; the metrics are computed at the end."""
        flat = [*inputs, *labels]
        activation = ACTIVATIONS[self.config.data.task]
        for images, truth in zip(flat[::2], flat[1::2], strict=True):
            with autocast(self.config.trainer.precision):
                answers = self.classifier(images)
            self._answers.append((activation(answers.astype("float32")), truth))
        return []

    @property
    def has_answers(self) -> bool:
        """Whether a validation has gone on."""
        return bool(self._answers)

    def end_validation(self) -> float:
        """Measure; the monitored metric."""
        answers, self._answers = self._answers, []
        outputs, labels = (np.concatenate([pair[place].numpy() for pair in answers]) for place in (0, 1))
        row = self.record.log_validation(outputs, labels)
        if self.average is not None:
            self.average.swap()
        score = row[self.config.trainer.monitor]
        self.schedule.observe(score)
        return score

    def before_save(self) -> None:
        """Make sure that what is about to be saved is sound, and the network's own weights are in their place.

        Raises:
            TrainingError: A loss, or a weight, is NaN or infinite.
        """
        sizes = paddle.stack([paddle.linalg.norm(weight.detach()) for weight in self.weights.values()])
        self.record.check_weights(finite=bool(paddle.isfinite(sizes).all().item()))
        if self.average is not None and self.average.swapped:  # in the middle of a validation
            self.average.swap()


@contextmanager
def _looking_for_unused_parameters() -> Iterator[None]:
    """`paddle.Model` wraps the network for several ranks itself, and passes no settings on."""
    wrapper = paddle.DataParallel
    paddle.DataParallel = partial(wrapper, find_unused_parameters=True)
    try:
        yield
    finally:
        paddle.DataParallel = wrapper
