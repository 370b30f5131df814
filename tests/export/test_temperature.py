from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.export.temperature import activated, calibration_error, fit_temperature
from mlstack.metrics import score


def drawn(sureness: float, pictures: int = 4000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits of five classes that are `sureness` times too large, and classes drawn from the right ones."""
    draw = np.random.default_rng(0)
    right = draw.normal(0, 2, (pictures, 5))
    chances = activated(right, "classification")
    labels = (chances.cumsum(axis=1) < draw.random((pictures, 1))).sum(axis=1)
    return (right * sureness).astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("sureness", [0.2, 1.5, 4.0])
def test_the_temperature_undoes_what_made_a_network_too_sure_or_too_unsure(sureness: float) -> None:
    logits, labels = drawn(sureness)
    assert fit_temperature(logits, labels, "classification") == pytest.approx(sureness, rel=0.05)


def test_no_other_temperature_gives_a_smaller_loss() -> None:
    logits, labels = drawn(3.0)
    fitted = fit_temperature(logits, labels, "classification")
    losses = [
        score("classification", activated(logits / np.float32(fitted * factor), "classification"), labels)["loss"]
        for factor in (0.97, 1.0, 1.03)
    ]
    assert losses[1] == min(losses)


def test_the_calibration_error_falls_and_no_decision_changes() -> None:
    logits, labels = drawn(4.0)
    before = activated(logits, "classification")
    after = activated(logits / np.float32(fit_temperature(logits, labels, "classification")), "classification")
    assert calibration_error(after, labels, "classification") < 0.3 * calibration_error(
        before, labels, "classification"
    )
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    measured = score("classification", after, labels)["calibration_error"]
    assert calibration_error(after, labels, "classification") == pytest.approx(measured)


def test_of_several_labels_each_decision_counts() -> None:
    draw = np.random.default_rng(1)
    right = draw.normal(0, 2, (3000, 3))
    labels = (activated(right, "multilabel") > draw.random(right.shape)).astype(np.float32)
    logits = (right * 2.5).astype(np.float32)
    fitted = fit_temperature(logits, labels, "multilabel")
    assert fitted == pytest.approx(2.5, rel=0.08)
    before, after = (activated(each, "multilabel") for each in (logits, logits / np.float32(fitted)))
    assert calibration_error(after, labels, "multilabel") < calibration_error(before, labels, "multilabel")
    assert np.array_equal(before >= 0.5, after >= 0.5)


def test_where_there_is_no_optimum_the_temperature_is_one() -> None:
    always_right = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    labels = np.array([0, 1, 2, 0])
    assert fit_temperature(always_right, labels, "classification") == 1
    assert fit_temperature(-always_right, labels, "classification") == 1  # always wrong: as unsure as can be
    assert fit_temperature(always_right[:0], labels[:0], "classification") == 1
    assert fit_temperature(always_right * np.float32(np.nan), labels, "classification") == 1
    assert fit_temperature(always_right, always_right, "regression") == 1


def test_scores_of_any_size_become_probabilities() -> None:
    huge = np.array([[1000, -1000, 0]], np.float32)
    assert activated(huge, "classification").tolist() == [[1, 0, 0]]
    assert activated(huge, "multilabel").tolist() == [[1, 0, 0.5]]
    assert activated(huge, "regression") is huge
