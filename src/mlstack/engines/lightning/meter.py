"""How torch counts for `TrainingMeter`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mlstack.engines.meter import TrainingMeter


class TorchMeter(TrainingMeter[Tensor]):
    """Counts with torch."""

    def _right(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
        truth = torch.cat([each if each.ndim == 1 else each.argmax(dim=1) for each in labels])
        return (torch.cat(list(logits)).argmax(dim=1) == truth).sum()

    def _values(self, losses: Sequence[Tensor]) -> list[float]:
        values: list[float] = torch.stack(list(losses)).float().tolist()
        return values

    def _number(self, hits: Tensor) -> int:
        return int(hits)

    def _sum(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other
