"""What happens around the training step: the order of an epoch's end, in one place.

`paddle.Model.fit` calls `on_epoch_end` before the validation, and validates after the epochs 0, n, 2n, …. Here an epoch
is over after its validation, which comes after the epochs n, 2n, … counted from 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import paddle
from paddle.callbacks import Callback

from mlstack.engines.checkpoint_files import LAST
from mlstack.engines.paddle.checkpoints import Checkpoints
from mlstack.engines.paddle.devices import greatest
from mlstack.engines.paddle.loaders import GroupedLoader, TensorBatch
from mlstack.engines.paddle.module import TrainingModel
from mlstack.engines.progress import SAMPLED_EVERY, RunBar, epoch_line
from mlstack.engines.stopping import SignalNote, StoppedBySignal
from mlstack.trackers import log_histograms
from mlstack.utils.console import say
from mlstack.utils.hardware import gpu_utilization
from mlstack.utils.ranks import is_main_process


class Validation:
    """The validation batches, in the epochs after which there is a validation; none in the others.

    Args:
        batches: Of the validation split.
        model: Knows the epoch.

    Attributes:
        is_due: Whether there is one after the epoch that is going on.
    """

    def __init__(self, batches: GroupedLoader, model: TrainingModel) -> None:
        self.batches, self.model = batches, model
        self.is_due = False

    def begin_epoch(self) -> None:
        """An epoch without a validation is over before `paddle.Model.fit` asks for the batches of one."""
        every = self.model.config.trainer.check_val_every_n_epoch
        self.is_due = len(self.batches.numbers) > 0 and (self.model.position.epoch + 1) % every == 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[TensorBatch]]:
        return iter(self.batches) if self.is_due else iter(())


class Conductor(Callback):
    """Speed, progress, validation, checkpoints and signals, in their order.

    Args:
        model: What is trained.
        checkpoints: Saves it.
        train: Its batches.
        validation: The batches that it is validated on.
    """

    def __init__(
        self, model: TrainingModel, checkpoints: Checkpoints, *, train: GroupedLoader, validation: Validation
    ) -> None:
        super().__init__()
        self.training, self.checkpoints = model, checkpoints
        self.train, self.validation = train, validation
        self.settings = model.config.trainer
        self.saves = not self.settings.fast_dev_run
        self.note = SignalNote(world_size=model.world_size, ask=greatest)
        self.bar: RunBar | None = None
        self._images = [0, *accumulate(model.plan.global_sizes)]  # of an epoch, before each of its batches
        self._counted = 0

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.training
        self.checkpoints.files.saved_step = model.position.step
        if self.settings.progress_bar:
            self.bar = RunBar(model.plan, model.position, epochs=self.settings.max_epochs)
        if self.saves:
            self.note.listen()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        position = self.training.position
        self.training.begin_epoch()
        self.validation.begin_epoch()
        self.train.set_position(position.epoch, position.batches)
        self.checkpoints.watch.start_epoch(position)
        self._counted = self._images[position.batches]
        if self.bar is not None:
            self.bar.start_epoch(position.epoch + 1)

    def on_train_batch_end(self, step: int, logs: Any = None) -> None:
        model, watch = self.training, self.checkpoints.watch
        before, self._counted = self._counted, self._images[model.position.batches]
        watch.count(self._counted - before)
        if self.bar is not None:
            self.bar.update(self._counted - before)
        if step % SAMPLED_EVERY == SAMPLED_EVERY - 1 and paddle.get_device() != "cpu":
            watch.sample(gpu_utilization())
        if self.saves and self.checkpoints.files.is_due(model.position.step):
            self.checkpoints.save(LAST)
        if number := self.note.turn():
            self._stop(number)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._stop_watch()
        if not self.validation.is_due:
            self._conclude_epoch(math.nan)

    def on_eval_begin(self, logs: Any = None) -> None:
        if self.validation.is_due:
            self.training.begin_validation()

    def on_eval_batch_end(self, step: int, logs: Any = None) -> None:
        # Several ranks go through a validation at their own pace: they stop at the first turn after it.
        if self.note.received and self.training.world_size == 1:
            self._stop(self.note.received)

    def on_eval_end(self, logs: Any = None) -> None:
        if not self.training.has_answers:  # there was no validation after this epoch
            return
        score = self.training.end_validation()
        patience = self.checkpoints.patience
        if patience is not None and patience.observe(score):
            self.training.stop_training = True
        self._conclude_epoch(score)

    def _conclude_epoch(self, score: float) -> None:
        model, files = self.training, self.checkpoints.files
        epoch = model.position.epoch
        if self.settings.progress_bar and is_main_process():
            say(epoch_line(epoch + 1, self.settings.max_epochs, model.record.epoch_summary()))
        name = files.rank(epoch, score)
        model.end_epoch()
        if self.saves:
            self.checkpoints.save(name)
            if is_main_process():
                files.link(name)
        if model.config.tracker_histograms:
            arrays = ((name, weight.astype("float32").numpy()) for name, weight in model.weights.items())
            log_histograms(model.record.trackers, arrays, step=model.position.step)

    def _stop_watch(self) -> None:
        watch = self.checkpoints.watch
        if watch.is_running:
            if paddle.get_device() != "cpu":
                paddle.device.synchronize()
            self.training.log_training(images_per_second=watch.stop_epoch())

    def _stop(self, number: int) -> None:
        self.note.announce(number)
        self.checkpoints.save(LAST)
        raise StoppedBySignal(number)

    def close(self) -> None:
        """However the training ended."""
        self.note.close()
        if self.bar is not None:
            self.bar.close()
