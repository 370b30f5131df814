"""Batches of the framework-neutral loader, in the groups that one turn of a training loop takes."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.datasets.augment import centre_crop
from mlstack.datasets.base import Labels
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.base import BatchSource
from mlstack.engines.budget import total_steps
from mlstack.engines.position import Plan
from mlstack.errors import MLStackError
from mlstack.utils.processes import end_with_parent

GRACE = 10  # seconds
WHITENED = 5000  # training images whose patches the whitening filters come from, as in https://arxiv.org/abs/2404.00498

Tensors = TypeVar("Tensors")  # images and labels of a batch, as a framework has them


class StepNumbers:
    """(epoch, step) of the steps of one epoch, in order, from `start` on."""

    def __init__(self, steps: int) -> None:
        self.epoch = 0
        self.start = 0
        self.steps = steps

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, step) for step in range(self.start, self.steps))

    def __len__(self) -> int:
        return self.steps - self.start


class GroupedBatches(ABC, Generic[Tensors]):
    """Lists of up to `group` batches, each list handled in one turn of the training loop.

    Args:
        steps: Batches an epoch.
        group: Batches a list.
    """

    def __init__(self, *, steps: int, group: int) -> None:
        self.group = group
        self.numbers = StepNumbers(steps)

    def set_position(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch that the next iteration goes through, and the step of it that comes first."""
        self.numbers.epoch, self.numbers.start = epoch, start

    @abstractmethod
    def _prepared(self) -> Iterator[Tensors | MLStackError]:
        """A batch for each of `self.numbers`. What a worker process could not do comes as an error."""

    @abstractmethod
    def close(self) -> None:
        """End the worker processes."""

    def __len__(self) -> int:
        return max(1, -(-len(self.numbers) // self.group))

    def __iter__(self) -> Iterator[list[Tensors]]:
        batches = self._prepared()
        while group := list(islice(batches, self.group)):
            whole: list[Tensors] = []
            for batch in group:
                if isinstance(batch, MLStackError):
                    raise batch
                whole.append(batch)
            yield whole


def read_batch(source: BatchSource, epoch: int, step: int) -> tuple[NDArray[np.uint8], Labels] | MLStackError:
    """A batch's images, in memory that may be written to, and labels.

    A broken picture comes back as an error to be raised by who asked: a worker would wrap it in its own traceback.
    """
    try:
        batch = source.batch(epoch, step)
    except MLStackError as error:
        return error
    return (batch.images if batch.images.flags.writeable else batch.images.copy()), batch.labels


def prepare_worker(_: int = 0) -> None:
    """What a worker process begins with: it ends neither too early nor too late.

    Ctrl-C and SIGTERM often reach every process of a run, and the step that is going on may need one more batch: so a
    worker ends 10 seconds after a SIGTERM, unless the training process ends it before. Where that one is killed,
    Paddle's workers (3.3.1) would wait for it for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
    end_with_parent(os.getppid())


def sources(config: Config, dataset: Dataset, *, rank: int, world_size: int) -> tuple[BatchLoader, BatchLoader]:
    """Batches of training and of validation; with several ranks, this rank's part of each."""
    data = config.data
    shared: dict[str, Any] = {
        "batch_size": data.batch_size,
        "image_size": dataset.image_size,
        "rank": rank,
        "world_size": world_size,
    }
    train = BatchLoader(
        dataset.splits["train"],
        seed=config.seed,
        shuffle=True,
        augment=data.augment,
        balance=data.balance,
        classes=len(dataset.classes),
        **shared,
    )
    return train, BatchLoader(dataset.splits["val"], **shared)


def plan_of(config: Config, source: BatchLoader, *, batches: int) -> Plan:
    """How much there is to do with so many training batches an epoch."""
    sizes = tuple(source.global_size(step) for step in range(batches))
    return Plan(total_steps(config.trainer, batches), batches, images=sum(sizes), global_sizes=sizes)


def class_counts(dataset: Dataset) -> list[int] | None:
    """Training images of each class, or with each label; None for a regression."""
    labels = dataset.splits["train"].labels
    counts: list[int]
    if dataset.task == "multilabel":
        counts = labels.sum(axis=0).astype(int).tolist()
        return counts
    if dataset.task == "classification":
        counts = np.bincount(labels, minlength=len(dataset.classes)).tolist()
        return counts
    return None


def whitening_images(dataset: Dataset) -> NDArray[np.uint8]:
    """Some thousand training images, evenly over the split, as evaluation sees them: [n, height, width, channel]."""
    images = dataset.splits["train"].images
    sample = np.linspace(0, len(images) - 1, min(WHITENED, len(images))).astype(np.int64)
    return centre_crop(images.read(sample), dataset.image_size).copy()
