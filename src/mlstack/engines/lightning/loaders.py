"""Batches of the framework-neutral loader as tensors, prepared in worker processes where that is asked for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mlstack.config import DataConfig
from mlstack.engines.base import BatchSource
from mlstack.errors import MLStackError

GRACE = 10  # seconds
# Images, uint8 [batch, height, width, channel], and labels, as `datasets/base.py: Batch` has them.
TensorBatch = tuple[Tensor, Tensor]


class _Steps(Dataset[TensorBatch | MLStackError]):
    """Maps (epoch, step) to a batch: no state, so workers need nothing but their numbers.

    A broken picture comes back as an error to be raised by who asked: a worker would wrap it in its own traceback.
    """

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __getitem__(self, index: tuple[int, int]) -> TensorBatch | MLStackError:
        try:
            batch = self.source.batch(*index)
        except MLStackError as error:
            return error
        images = batch.images if batch.images.flags.writeable else batch.images.copy()
        return torch.from_numpy(images), torch.from_numpy(batch.labels)


class _StepNumbers(Sampler[tuple[int, int]]):
    """The steps of one epoch, in order, from `start` on."""

    def __init__(self, steps: int) -> None:
        self.epoch = 0
        self.start = 0
        self.steps = steps

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, step) for step in range(self.start, self.steps))

    def __len__(self) -> int:
        return self.steps - self.start


class GroupedLoader:
    """Lists of up to `group` batches, each list handled in one turn of the training loop.

    Args:
        source: Where batches come from.
        data: Worker and memory settings.
        steps: Batches an epoch.
        group: Batches a list.
        pin_memory: Page-locked batches, for a GPU.
    """

    def __init__(
        self, source: BatchSource, data: DataConfig, *, steps: int, group: int = 1, pin_memory: bool = False
    ) -> None:
        self.group = group
        self.numbers = _StepNumbers(steps)
        self.steps = _Steps(source)
        self.works_alone = data.num_workers == 0 and not pin_memory
        workers = min(data.num_workers, steps)
        self.loader = DataLoader(
            self.steps,
            batch_size=None,
            sampler=self.numbers,
            num_workers=workers,
            persistent_workers=data.persistent_workers and workers > 0,
            prefetch_factor=data.prefetch_factor if workers else None,
            pin_memory=pin_memory,
            worker_init_fn=_outlive_signals,
        )

    def set_position(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch that the next iteration goes through, and the step of it that comes first."""
        self.numbers.epoch, self.numbers.start = epoch, start

    def close(self) -> None:
        """End the workers: those that are kept alive between epochs would be waited for when the process ends."""
        workers, self.loader._iterator = self.loader._iterator, None
        if workers is not None:
            workers._shutdown_workers()  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return max(1, -(-len(self.numbers) // self.group))

    def __iter__(self) -> Iterator[list[TensorBatch]]:
        if not len(self.numbers):  # a run goes on between the last step of an epoch and its validation
            yield []
            return
        # Without workers a DataLoader would only add 0.05 ms to each step.
        batches = map(self.steps.__getitem__, self.numbers) if self.works_alone else iter(self.loader)
        while group := list(islice(batches, self.group)):
            for batch in group:
                if isinstance(batch, MLStackError):
                    raise batch
            yield group


def _outlive_signals(_: int) -> None:
    """Ctrl-C and SIGTERM often reach every process of a run, and the step that is going on may need one more batch.

    So a worker ends 10 seconds after a SIGTERM, unless the training process ends it before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
