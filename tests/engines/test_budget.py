from __future__ import annotations

import numpy as np
import pytest

from mlstack.config import TrainerConfig
from mlstack.datasets.base import Batch
from mlstack.engines.budget import FirstBatches, limited, total_steps


@pytest.mark.parametrize(
    ("limit", "left"),
    [(1.0, 10), (0.5, 5), (0.25, 2), (0.01, 1), (0.0, 0), (0, 0), (1, 1), (7, 7), (99, 10)],
)
def test_a_limit_is_a_number_of_batches_or_a_share_of_which_at_least_one(limit: float, left: int) -> None:
    assert limited(10, limit) == left


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (TrainerConfig(max_epochs=3), 30),
        (TrainerConfig(max_epochs=3, accumulate_grad_batches=4), 9),  # 4 + 4 + 2 batches an epoch
        (TrainerConfig(max_epochs=3, max_steps=12), 12),
        (TrainerConfig(max_epochs=1, max_steps=12), 10),
    ],
)
def test_optimizer_steps_of_a_run_of_10_batches_an_epoch(settings: TrainerConfig, steps: int) -> None:
    assert total_steps(settings, 10) == steps


class Numbered:
    """Batches that hold nothing but their number."""

    def __len__(self) -> int:
        return 10

    def batch(self, epoch: int, step: int) -> Batch:
        return Batch(np.zeros((1, 1, 1, 1), np.uint8), np.array([epoch]), np.array([step]))


def test_the_first_batches_are_the_sources_own() -> None:
    first = FirstBatches(Numbered(), 3)
    assert len(first) == 3
    assert first.batch(2, 1).indices.tolist() == [1]
    assert first.batch(2, 1).labels.tolist() == [2]
