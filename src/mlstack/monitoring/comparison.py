"""One comparison of a window of answers with the reference: all tests, and the correction for their number."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.monitoring.statistics import (
    Outcome,
    holm,
    ks_test,
    largest_share_change,
    mean_test,
    psi,
    psi_of_counts,
    shares_test,
    variance_test,
)
from mlstack.monitoring.watched import Answers, Watched

# What each kind of test may spend of the error. A class that grows is the faintest of the common shifts, so most of
# it goes to the test that is made for it; a shift of light or features is found with far less.
WEIGHTS = {"class_share": 0.7, "class_shares": 0.05, "light": 0.125, "model": 0.125}
BANDS = ((0.1, "none"), (0.2, "some"), (float("inf"), "large"))  # https://arxiv.org/abs/1701.09256
TAIL = 0.01  # of both samples together, at each end: values beyond are moved there before means are compared


@dataclass(frozen=True)
class DriftTest:
    """One test of a comparison.

    Attributes:
        name: Quantity and test: `brightness_mean`, `features_2_distribution`, `class_share`.
        statistic: Its own measure of the difference; positive where means, variances or shares grew.
        p_value: Chance of such a difference without drift, of this test alone.
        threshold: What p_value is compared with, after the correction for the number of tests.
        drifting: p_value is at most threshold, and so it was for all tests with stronger evidence.
        reference: Mean, deviation or share in the reference; None where the test has no such number.
        current: The same in the window.
        label: Name of the class that `class_share` is about.
    """

    name: str
    statistic: float
    p_value: float
    threshold: float
    drifting: bool
    reference: float | None = None
    current: float | None = None
    label: str | None = None


@dataclass(frozen=True)
class Comparison:
    """All tests of a window.

    Attributes:
        tests: Each of them.
        p_value: Smallest corrected p-value; drift where it is at most alpha.
        psi: Population stability index by quantity, `classes` among them. For people to read: it decides nothing.
    """

    tests: tuple[DriftTest, ...]
    p_value: float
    psi: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        bands = {name: {"value": value, "change": band_of(value)} for name, value in self.psi.items()}
        return {"tests": [_plain(asdict(test)) for test in self.tests], "p_value": self.p_value, "psi": bands}


@dataclass(frozen=True)
class _Found:
    """A test before the correction."""

    name: str
    outcome: Outcome
    family: str
    reference: float | None = None
    current: float | None = None
    label: str | None = None


def compare(watched: Watched, window: Answers, *, alpha: float) -> Comparison:
    """Compare a window with the reference.

    Args:
        watched: What made both, with the reference.
        window: Rows, rounded, at least one.
        alpha: Chance that any test rejects when both are of one distribution.
    """
    first, second = watched.reference.numbers, window.numbers
    found: list[_Found] = []
    stability: dict[str, float] = {}
    for column, name in enumerate(watched.names):
        found += _quantity_tests(name, first[:, column], second[:, column])
        stability[name] = psi(first[:, column], second[:, column])
    if watched.labels:
        counts = watched.class_counts, watched.counts(window.classes)
        found += _class_tests(watched, *counts, sizes=(watched.counted, len(second)))
        stability["classes"] = psi_of_counts(*counts)
    families = [test.family for test in found]
    weights = [WEIGHTS[family] / families.count(family) for family in families]
    corrected, shares = holm([test.outcome.p_value for test in found], weights=weights)
    tests = tuple(
        DriftTest(
            name=one.name,
            statistic=one.outcome.statistic,
            p_value=one.outcome.p_value,
            threshold=alpha * float(share),
            drifting=bool(p_value <= alpha),
            reference=one.reference,
            current=one.current,
            label=one.label,
        )
        for one, p_value, share in zip(found, corrected, shares, strict=True)
    )
    return Comparison(tests, float(corrected.min()), stability)


def band_of(value: float) -> str:
    """How large a change a population stability index stands for: none, some or large."""
    return next(band for limit, band in BANDS if value < limit)


def _quantity_tests(name: str, first: NDArray[np.float64], second: NDArray[np.float64]) -> list[_Found]:
    """The distribution of every quantity; mean and variance of those that mean something to people."""
    family = "light" if name in ("brightness", "contrast") else "model"
    found = [_Found(f"{name}_distribution", ks_test(first, second), family)]
    if not name.startswith("features"):
        low, high = np.quantile(np.concatenate([first, second]), [TAIL, 1 - TAIL])
        near, now = first.clip(low, high), second.clip(low, high)
        for kind, outcome, was, is_now in (
            ("mean", mean_test(near, now), first.mean(), second.mean()),
            ("variance", variance_test(near, now), first.std(), second.std()),
        ):
            found.append(_Found(f"{name}_{kind}", outcome, family, float(was), float(is_now)))
    return found


def _class_tests(
    watched: Watched, first: NDArray[np.int64], second: NDArray[np.int64], *, sizes: tuple[int, int]
) -> list[_Found]:
    change = largest_share_change(first, sizes[0], second, sizes[1])
    outcome = Outcome(change.statistic, change.p_value)
    if change.place is None:
        found = [_Found("class_share", outcome, "class_share")]
    else:
        place, label = change.place, watched.labels[change.place]
        shares = float(first[place] / sizes[0]), float(second[place] / sizes[1])
        found = [_Found("class_share", outcome, "class_share", *shares, label=label)]
    if watched.task == "classification":  # several labels of one picture are no counts of a chi-squared test
        found.append(_Found("class_shares", shares_test(first, second), "class_shares"))
    return found


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for infinity, which a test of two constants answers with."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in values.items()
    }
