from __future__ import annotations

import pytest

from mlstack.config.serving import ServeSettings
from mlstack.serving.messages import Head
from mlstack.serving.predicting import Predictor, _top_k
from mlstack.serving.problems import Problem


def test_top_k_is_a_whole_number_of_up_to_six_digits_and_five_unless_told() -> None:
    assert _top_k(Head("POST", "/predict")) == 5
    assert [_top_k(Head("POST", "/predict", {"top_k": given})) for given in ("1", "007", "999999")] == [1, 7, 999999]


@pytest.mark.parametrize("given", ["", "0", "000000", "1000000", "0000001", "-1", "+1", "1.0", "²", "٣", "one"])
def test_any_other_top_k_is_refused_with_what_was_given(given: str) -> None:
    with pytest.raises(Problem) as problem:
        _top_k(Head("POST", "/predict", {"top_k": given}))
    assert (problem.value.status, problem.value.detail) == (400, f"top_k={given!r} is no whole number from 1 on")


@pytest.mark.parametrize(
    ("status", "reason", "seconds", "blamed"),
    [
        (500, "failed", 0.0, True),
        (503, "deadline", 2.0, True),  # the service's own limit
        (503, "deadline", 1.9, False),  # its client waits for less
        (503, "not_ready", 9.0, False),
        (400, "bad_request", 9.0, False),
    ],
)
def test_a_model_is_to_blame_for_failures_and_for_the_service_s_own_deadline(
    status: int, reason: str, seconds: float, blamed: bool
) -> None:
    predictor = Predictor.__new__(Predictor)
    predictor.settings = ServeSettings(deadline_ms=2000)
    assert predictor._is_to_blame(Problem(status, "no", reason=reason), seconds) == blamed
