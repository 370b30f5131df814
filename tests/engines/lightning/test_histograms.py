from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from mlstack.config import Config, TrainerConfig

pytestmark = pytest.mark.framework


def test_values_are_counted_in_equal_bins_and_those_that_are_no_numbers_left_out() -> None:
    from mlstack.engines.lightning.histograms import BINS, histogram

    one = histogram(np.array([0.0, 1.0, 3.0, np.nan, np.inf], np.float32))
    assert one is not None
    assert (one.counts.sum(), one.counts[0], one.counts[-1]) == (3, 1, 1)
    assert (len(one.counts), len(one.edges)) == (BINS, BINS + 1)
    assert (one.edges[0], one.edges[-1], one.total, one.squares) == (0.0, 3.0, 4.0, 10.0)
    assert histogram(np.array([np.nan], np.float32)) is None


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_they_are_recorded_at_the_end_of_each_epoch() -> None:
    import torch
    from pytorch_lightning.demos.boring_classes import BoringModel
    from pytorch_lightning.loggers.logger import DummyLogger

    from mlstack.engines.lightning.histograms import Histogram, WeightHistograms
    from mlstack.engines.lightning.trainer import build_trainer

    recorded: list[tuple[list[str], int]] = []

    class Recorder(DummyLogger):
        def record_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
            recorded.append((list(histograms), step))

    config = Config(trainer=TrainerConfig(accelerator="cpu", max_epochs=2, limit_val_batches=0))
    trainer = build_trainer(config, trackers=[Recorder()], callbacks=[WeightHistograms()])
    trainer.fit(BoringModel(), torch.utils.data.DataLoader(torch.randn(3, 32)))
    assert recorded == [(["layer.weight", "layer.bias"], 3), (["layer.weight", "layer.bias"], 6)]


def test_where_nothing_shows_them_the_weights_are_not_looked_at() -> None:
    from mlstack.engines.lightning.histograms import log_histograms

    log_histograms([object()], None, step=1)  # type: ignore[arg-type]
