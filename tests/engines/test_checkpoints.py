from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import Fit

pytestmark = pytest.mark.framework


@pytest.mark.parametrize(("monitor", "better"), [("val_loss", min), ("val_accuracy", max)])
def test_a_run_finds_its_best_checkpoint_by_the_monitored_metric(monitor: str, better: Any, fit: Fit) -> None:
    fitted = fit(trainer__monitor=monitor, trainer__max_epochs=4, model__learning_rate=0.3, trainer__save_top_k=4)
    scores = fitted.column(monitor)
    assert fitted.result.best_score == pytest.approx(better(scores), rel=1e-4)
    assert fitted.result.best_epoch is not None
    assert scores[fitted.result.best_epoch] == better(scores)
    best, epoch = fitted.weights("best"), fitted.weights(f"epoch_{fitted.result.best_epoch}")
    assert all(np.array_equal(value, epoch[name]) for name, value in best.items())


def test_a_run_leaves_no_temporary_file(fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=3, trainer__monitor="val_loss", trainer__save_top_k=1)
    names = {path.name for path in fitted.run.checkpoints.iterdir()}
    assert names == {"best.ckpt", "last.ckpt", f"epoch_{fitted.result.best_epoch}.ckpt"}


def test_a_checkpoint_is_read_without_running_what_it_holds(fit: Fit) -> None:
    state = fit(trainer__max_epochs=1).state()
    assert {"position", "meters", "epoch_row", "schedule"} <= set(state)
    assert state["position"] | {"epoch": 1, "batches": 0, "step": 6, "world_size": 1} == state["position"]
