from __future__ import annotations

import json

import numpy as np
import pytest

from mlstack.monitoring.shadow import ShadowComparison

GIVEN = np.array([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4]], np.float32)
SHADOW = np.array([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4]], np.float32)


def test_agreement_and_distance_are_counted_by_picture() -> None:
    shadow = ShadowComparison("classification", 2)
    shadow.observe(GIVEN, SHADOW, seconds=0.01, shadow_seconds=0.02)
    shadow.observe(GIVEN[:1], SHADOW[:1], seconds=0.01, shadow_seconds=0.02)
    status = shadow.status()
    assert (status["pictures"], status["requests"]) == (4, 2)
    assert status["agreement"]["value"] == 0.75
    assert status["agreement"]["low"] < 0.75 < status["agreement"]["high"]
    assert status["distance"] == {"mean": pytest.approx((0.1 + 0.4 + 0 + 0.1) / 4), "largest": pytest.approx(0.4)}
    assert status["p50_ms"] == {"given": pytest.approx(10, rel=0.01), "shadow": pytest.approx(20, rel=0.01)}


def test_several_labels_agree_where_all_of_them_do() -> None:
    shadow = ShadowComparison("multilabel", 2)
    given = np.array([[0.9, 0.9], [0.9, 0.1]], np.float32)
    other = np.array([[0.6, 0.8], [0.9, 0.6]], np.float32)
    shadow.observe(given, other, seconds=0.01, shadow_seconds=0.01)
    assert shadow.status()["agreement"]["value"] == 0.5


def test_a_regression_has_distances_only() -> None:
    shadow = ShadowComparison("regression", 1)
    shadow.observe(np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32), seconds=0.01, shadow_seconds=0.01)
    assert shadow.status()["agreement"] is None
    assert shadow.status()["distance"] == {"mean": 1, "largest": 1}


def test_requests_without_a_comparison_are_counted_by_reason() -> None:
    shadow = ShadowComparison("classification", 2)
    shadow.fail()
    shadow.drop()
    shadow.drop()
    shadow.observe(GIVEN[:0], SHADOW[:0], seconds=0.01, shadow_seconds=0.01)
    status = json.loads(json.dumps(shadow.status(), allow_nan=False))
    assert (status["pictures"], status["failed"], status["dropped"], status["agreement"]) == (0, 1, 2, None)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (3,)])
def test_answers_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected two of \[n, 2\]"):
        ShadowComparison("classification", 2).observe(
            GIVEN, np.zeros(shape, np.float32), seconds=0.01, shadow_seconds=0.01
        )
