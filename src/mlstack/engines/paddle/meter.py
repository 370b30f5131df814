"""How Paddle counts for `TrainingMeter`."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor

from mlstack.engines.meter import TrainingMeter


class PaddleMeter(TrainingMeter[Tensor]):
    """Counts with Paddle."""

    def _right(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
        truth = paddle.concat([each if each.ndim == 1 else each.argmax(axis=1) for each in labels])
        return (paddle.concat(list(logits)).argmax(axis=1) == truth).sum()

    def _values(self, losses: Sequence[Tensor]) -> list[float]:
        values: list[float] = paddle.stack(list(losses)).astype("float32").tolist()
        return values

    def _number(self, hits: Tensor) -> int:
        return int(hits.item())

    def _sum(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other
