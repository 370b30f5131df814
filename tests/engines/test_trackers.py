from __future__ import annotations

from typing import Any

import pytest

from mlstack.runs import RunFolder

from .conftest import Fit

pytestmark = pytest.mark.framework


def other_files(run: RunFolder) -> set[str]:
    return {path.name for path in run.path.iterdir()} - {"metrics.csv", "checkpoints"}


def events(run: RunFolder) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    everything = {"scalars": 0, "histograms": 0}
    return EventAccumulator(str(run.path / "tensorboard"), everything).Reload()


def test_without_a_tracker_there_is_metrics_csv_alone(fit: Fit) -> None:
    assert other_files(fit(tracker="none", trainer__max_epochs=1).run) == set()


def test_tensorboard_gets_the_values_of_metrics_csv(fit: Fit) -> None:
    fitted = fit(tracker="tensorboard")
    fitted.engine.report(fitted.run, [], status="finished")
    assert other_files(fitted.run) == {"tensorboard"}
    values = [event.value for event in events(fitted.run).Scalars("val_loss")]
    assert values == pytest.approx(fitted.column("val_loss"), rel=1e-5)


def test_histograms_of_all_weights_are_recorded_at_the_end_of_each_epoch(fit: Fit) -> None:
    fitted = fit(tracker="tensorboard", tracker_histograms=True, trainer__max_epochs=2)
    fitted.engine.report(fitted.run, [], status="finished")
    seen, steps = events(fitted.run), fitted.result.steps
    assert {name.removeprefix("weights/") for name in seen.Tags()["histograms"]} <= set(fitted.weights())
    for name in seen.Tags()["histograms"]:
        assert [event.step for event in seen.Histograms(name)] == [steps // 2, steps]
    assert seen.Tags()["histograms"]
