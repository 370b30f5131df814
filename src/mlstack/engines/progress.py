"""What a person sees while a run goes on, and how fast it went."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from mlstack.engines.position import Plan, Position
from mlstack.utils.ranks import is_main_process

SHOWN = ("accuracy", "f1", "mae")  # of a task's metrics the first that was measured stands in an epoch's line
SAMPLED_EVERY = 20  # batches between two samples of the GPU's utilisation; one takes well below a millisecond


class Stopwatch:
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

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.images, self.seconds = state["images"], state["seconds"]
        self._closed = state["closed"]

    @property
    def gpu_utilization(self) -> float | None:
        """Mean over the samples, 0 to 1; None on a CPU."""
        return sum(self._utilization) / len(self._utilization) if self._utilization else None

    @property
    def images_per_second(self) -> float:
        """Over all devices; 0 before the first epoch is over."""
        return self.images / self.seconds if self.seconds else 0.0

    def start_epoch(self, position: Position) -> None:
        """Before its first batch, or the first one of those that are left."""
        self._epoch_images = 0
        if not (position.batches and self._closed):
            self._started = time.perf_counter()

    def count(self, images: int) -> None:
        """After a turn of the loop: images of all devices."""
        self._epoch_images += images

    def sample(self, busy: float | None) -> None:
        """How busy the GPU was, 0 to 1."""
        self._utilization += [] if busy is None else [busy]

    @property
    def is_running(self) -> bool:
        return self._started is not None

    def stop_epoch(self) -> float:
        """Before its validation, or at its end if it has none; only while it is running. Images per second."""
        assert self._started is not None
        seconds = time.perf_counter() - self._started
        self._started = None
        images, self._epoch_images = self._epoch_images, 0
        self.images += images
        self.seconds += seconds
        return images / seconds


class RunBar:
    """One bar over the whole run with images/s and the time left, where there is a terminal.

    Args:
        plan: How much there is to do.
        position: Where the run begins.
        epochs: Epochs of the whole run.
    """

    def __init__(self, plan: Plan, position: Position, *, epochs: int) -> None:
        self.epochs = epochs
        self.bar: tqdm[Any] | None = None
        if is_main_process() and sys.stderr.isatty():
            self.bar = tqdm(
                total=plan.images * epochs,
                initial=plan.images * position.epoch + sum(plan.global_sizes[: position.batches]),
                unit=" images",
                unit_scale=True,
                leave=False,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {rate_fmt}, {remaining} left",
            )

    def start_epoch(self, epoch: int) -> None:
        """Counted from 1."""
        if self.bar is not None:
            self.bar.set_description_str(f"epoch {epoch}/{self.epochs}")

    def update(self, images: int) -> None:
        """Images of all devices since the last time."""
        if self.bar is not None:
            self.bar.update(images)

    def close(self) -> None:
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
