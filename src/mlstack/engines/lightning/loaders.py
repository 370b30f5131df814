"""Batches as tensors, prepared in torch's worker processes where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlstack.config import DataConfig
from mlstack.engines.base import BatchSource
from mlstack.engines.batches import GroupedBatches, prepare_worker, read_batch
from mlstack.errors import MLStackError

# Images, uint8 [batch, height, width, channel], and labels, as `datasets/base.py: Batch` has them.
TensorBatch = tuple[Tensor, Tensor]


class _Steps(Dataset[TensorBatch | MLStackError]):
    """Maps (epoch, step) to a batch: no state, so workers need nothing but their numbers."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __getitem__(self, index: tuple[int, int]) -> TensorBatch | MLStackError:
        read = read_batch(self.source, *index)
        return read if isinstance(read, MLStackError) else (torch.from_numpy(read[0]), torch.from_numpy(read[1]))


class GroupedLoader(GroupedBatches[TensorBatch]):
    """See `GroupedBatches`.

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
        super().__init__(steps=steps, group=group)
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
            worker_init_fn=prepare_worker,
        )

    def close(self) -> None:
        """End the workers: those that are kept alive between epochs would be waited for when the process ends."""
        workers, self.loader._iterator = self.loader._iterator, None
        if workers is not None:
            workers._shutdown_workers()  # type: ignore[attr-defined]

    def _prepared(self) -> Iterator[TensorBatch | MLStackError]:
        # Without workers a DataLoader would only add 0.05 ms to each step.
        return map(self.steps.__getitem__, self.numbers) if self.works_alone else iter(self.loader)

    def __iter__(self) -> Iterator[list[TensorBatch]]:
        if not len(self.numbers):  # a run goes on between the last step of an epoch and its validation
            return iter([[]])
        return super().__iter__()
