"""Batches as Paddle tensors, prepared in Paddle's worker processes where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import paddle
from paddle import Tensor
from paddle.io import BatchSampler, DataLoader, Dataset

from mlstack.config import DataConfig
from mlstack.engines.base import BatchSource
from mlstack.engines.batches import GroupedBatches, StepNumbers, prepare_worker, read_batch
from mlstack.errors import MLStackError

# Images, uint8 [batch, height, width, channel], and labels, as `datasets/base.py: Batch` has them.
TensorBatch = tuple[Tensor, Tensor]


class _Steps(Dataset):
    """Maps (epoch, step) to a batch: no state, so workers need nothing but their numbers."""

    def __init__(self, source: BatchSource) -> None:
        super().__init__()
        self.source = source

    def __getitem__(self, index: tuple[int, int]) -> Any:
        read = read_batch(self.source, *index)
        # Paddle takes an item without an array for the end of all items.
        return [np.zeros(1), read] if isinstance(read, MLStackError) else read


class _Numbers(BatchSampler):
    """Each step is a batch of one item for Paddle's loader, whose items here are whole batches."""

    def __init__(self, numbers: StepNumbers) -> None:
        self.numbers = numbers

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([number] for number in self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


class GroupedLoader(GroupedBatches[TensorBatch]):
    """See `GroupedBatches`.

    Args:
        source: Where batches come from.
        data: Worker settings.
        steps: Batches an epoch.
        group: Batches a list.
        is_over: Asked after each list: whether no more are wanted, even if the epoch has some left.
    """

    def __init__(
        self,
        source: BatchSource,
        data: DataConfig,
        *,
        steps: int,
        group: int = 1,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(steps=steps, group=group)
        self.steps = _Steps(source)
        self.is_over = is_over
        self.loader: Any = None
        self._running: Any = None  # the loader's iterator, which owns the workers
        if workers := min(data.num_workers, steps):
            self.loader = DataLoader(
                self.steps,
                batch_sampler=_Numbers(self.numbers),
                collate_fn=_only_one,
                num_workers=workers,
                persistent_workers=data.persistent_workers,
                prefetch_factor=data.prefetch_factor or 2,
                worker_init_fn=prepare_worker,
                # Files of its shared memory stay in /dev/shm when the run is killed, and a container has 64 MB of that.
                use_shared_memory=False,
            )

    def close(self) -> None:
        """End the workers: of an epoch that was broken off, or kept alive between epochs."""
        if self._running is not None:
            self._running._try_shutdown_all()

    def _prepared(self) -> Iterator[TensorBatch | MLStackError]:
        if self.loader is not None:
            self._running = iter(self.loader)
            return map(_parted, self._running)
        return (_as_tensors(read_batch(self.steps.source, *number)) for number in self.numbers)

    def __iter__(self) -> Iterator[list[TensorBatch]]:
        for group in super().__iter__():
            yield group
            if self.is_over():
                return


def _only_one(items: list[Any]) -> Any:
    return items[0]


def _as_tensors(read: Any) -> TensorBatch | MLStackError:
    return read if isinstance(read, MLStackError) else (paddle.to_tensor(read[0]), paddle.to_tensor(read[1]))


def _parted(item: Any) -> TensorBatch | MLStackError:
    return item[1] if isinstance(item[1], MLStackError) else (item[0], item[1])
