"""Two-sample tests and the correction for many of them, in NumPy alone.

Every test asks whether two samples may come from one distribution and answers with a p-value that holds when they do:
it is at most as small as it says, with ties and with constant samples too. Samples are one-dimensional and finite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlstack.monitoring.special_functions import chi_squared_tail, kolmogorov_tail, student_tails

FEWEST_EXPECTED = 5.0  # answers in a cell of the chi-squared test: Cochran, https://doi.org/10.2307/3001616
FEWEST_TOGETHER = 10  # answers of a class, both samples together, before it is tested alone


class Outcome(NamedTuple):
    """What a test found.

    Attributes:
        statistic: Its own measure of the difference.
        p_value: Chance of at least that much between two samples of one distribution.
    """

    statistic: float
    p_value: float


NOTHING = Outcome(0.0, 1.0)


def ks_test(first: NDArray[np.floating], second: NDArray[np.floating]) -> Outcome:
    """Kolmogorov and Smirnov: the largest distance of the two empirical distribution functions.

    https://en.wikipedia.org/wiki/Kolmogorov%E2%80%93Smirnov_test ; the p-value is the asymptotic one, which is too
    large rather than too small for small samples and for ties.
    """
    values = np.concatenate([first, second])
    below_first = np.searchsorted(np.sort(first), values, side="right") / len(first)
    below_second = np.searchsorted(np.sort(second), values, side="right") / len(second)
    distance = float(np.abs(below_first - below_second).max())
    size = len(first) * len(second) / (len(first) + len(second))
    return Outcome(distance, kolmogorov_tail(math.sqrt(size) * distance))


def welch_test(first: NDArray[np.floating], second: NDArray[np.floating]) -> Outcome:
    """Welch's test of two means, for unequal variances: https://doi.org/10.1093/biomet/34.1-2.28

    The statistic is positive where the second mean is the larger one. Samples of fewer than two tell nothing.
    """
    if min(len(first), len(second)) < 2:
        return NOTHING
    errors = [float(np.var(sample, ddof=1, dtype=np.float64)) / len(sample) for sample in (first, second)]
    if sum(errors) == 0:
        return _student(first, second, error=0.0, degrees=1)
    degrees = sum(errors) ** 2 / (errors[0] ** 2 / (len(first) - 1) + errors[1] ** 2 / (len(second) - 1))
    return _student(first, second, error=math.sqrt(sum(errors)), degrees=degrees)


def mean_test(first: NDArray[np.floating], second: NDArray[np.floating]) -> Outcome:
    """Welch's test or Student's (one variance for both samples), whichever has the larger p-value.

    Of skewed values a small sample may lack the tail, or have too much of it. Welch's test is misled by the one, since
    it then takes the sample's variance for small, Student's by the other. Both at once are so much more seldom.
    """
    welch, (n, m) = welch_test(first, second), (len(first), len(second))
    if min(n, m) < 2:
        return NOTHING
    squares = sum(float(np.var(sample, dtype=np.float64)) * len(sample) for sample in (first, second))
    student = _student(first, second, error=math.sqrt(squares / (n + m - 2) * (1 / n + 1 / m)), degrees=n + m - 2)
    return max(welch, student, key=lambda outcome: outcome.p_value)


def _student(first: NDArray[np.floating], second: NDArray[np.floating], *, error: float, degrees: float) -> Outcome:
    """The difference of the means in standard errors; without any error each difference is one too many."""
    difference = float(np.mean(second, dtype=np.float64) - np.mean(first, dtype=np.float64))
    if error == 0:
        return NOTHING if difference == 0 else Outcome(math.copysign(math.inf, difference), 0.0)
    return Outcome(difference / error, student_tails(difference / error, degrees))


def variance_test(first: NDArray[np.floating], second: NDArray[np.floating]) -> Outcome:
    """Brown and Forsythe's test of two variances: https://doi.org/10.1080/01621459.1974.10482955

    `mean_test` of the distances from the medians, so that the samples need not be normal. The statistic is positive
    where the second sample varies more.
    """
    return mean_test(np.abs(first - np.median(first)), np.abs(second - np.median(second)))


def shares_test(first: ArrayLike, second: ArrayLike) -> Outcome:
    """Pearson's chi-squared test of two lists of counts: https://en.wikipedia.org/wiki/Chi-squared_test

    Classes of which a sample would expect fewer than `FEWEST_EXPECTED` are taken together, since the approximation
    fails for them. That looks at the sum of both samples alone and so favours neither.

    Args:
        first: Counts of the classes in one sample [class], each answer in exactly one class.
        second: Counts of the same classes in the other.
    """
    counts = np.array([first, second], np.float64)
    counts = counts[:, np.argsort(-counts.sum(axis=0), kind="stable")]
    sizes = counts.sum(axis=1)
    if sizes.min() == 0:
        return NOTHING
    fewest = FEWEST_EXPECTED * sizes.sum() / sizes.min()  # answers of a class in both samples
    together = counts.sum(axis=0)
    cells = int(np.count_nonzero(together >= fewest))
    rest = counts[:, cells:].sum(axis=1)
    table = np.column_stack([counts[:, :cells], rest])
    if 0 < rest.sum() < fewest and cells:  # too few even together: they go to the rarest class that is left
        table[:, -2] += rest
    if rest.sum() < fewest:
        table = table[:, :-1]
    if table.shape[1] < 2:
        return NOTHING
    expected = np.outer(sizes, table.sum(axis=0)) / sizes.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return Outcome(statistic, chi_squared_tail(statistic, table.shape[1] - 1))


class ShareChange(NamedTuple):
    """The class whose share changed most; its p-value counts that it was picked out of many."""

    statistic: float
    p_value: float
    place: int | None


def largest_share_change(first: ArrayLike, first_size: int, second: ArrayLike, second_size: int) -> ShareChange:
    """Fisher's exact test of each class against all others, the smallest p-value times the number of classes tested.

    One class that grows is found with far fewer answers than by a test of all classes at once. Classes may overlap,
    as labels do. Those with fewer than `FEWEST_TOGETHER` answers in both samples could not be told from chance anyway
    and don't count (Tarone, https://doi.org/10.2307/2531456). https://en.wikipedia.org/wiki/Fisher%27s_exact_test

    Args:
        first: Answers of each class in one sample [class].
        first_size: All answers of that sample.
        second: Answers of each class in the other sample.
        second_size: All of its answers.

    Returns:
        The difference of the two shares (positive where the second one is larger), the p-value, and the class.
    """
    counts = np.array([first, second], np.int64)
    places = np.flatnonzero(counts.sum(axis=0) >= FEWEST_TOGETHER)
    if not len(places) or not first_size or not second_size:
        return ShareChange(0.0, 1.0, None)
    pairs, where = np.unique(counts[:, places], axis=1, return_inverse=True)
    tails = np.array([_fisher(int(a), first_size, int(b), second_size) for a, b in pairs.T])[where.ravel()]
    differences = counts[1, places] / second_size - counts[0, places] / first_size
    best = int(np.lexsort((-np.abs(differences), tails))[0])
    return ShareChange(float(differences[best]), min(1.0, float(tails[best]) * len(places)), int(places[best]))


def _fisher(a: int, first: int, b: int, second: int) -> float:
    """Twice the smaller tail of the hypergeometric distribution: a of `first` and b of `second` are of the class.

    What was seen counts half (Lancaster's mid-p, https://doi.org/10.1080/01621459.1961.10482105): counted in full, the
    test would reject less often than it may, and miss shifts for that. Each chance follows from the one before, which
    costs as much as the smaller sample is large; log n! of a million pictures would cost milliseconds.
    """
    size = a + b
    fewest = max(0, size - second)
    k = np.arange(fewest, min(size, first), dtype=np.float64)
    ratios = (first - k) * (size - k) / ((k + 1) * (second - size + k + 1))  # of the chances of k + 1 and k
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    chances = np.exp(logs - logs.max())
    chances /= chances.sum()
    place = a - fewest
    return min(1.0, 2 * float(min(chances[: place + 1].sum(), chances[place:].sum()) - chances[place] / 2))


def psi(reference: NDArray[np.floating], current: NDArray[np.floating], *, bins: int = 10) -> float:
    """Population stability index over bins that hold equal shares of the reference.

    https://arxiv.org/abs/1701.09256 ; below 0.1 is taken for no change, above 0.2 for a large one. Without any change
    about (bins - 1) · (1 / n + 1 / m) is to be expected: 0.03 for 1000 and 500 pictures.
    """
    edges = np.unique(np.quantile(reference, np.arange(1, bins) / bins))
    counts = [np.bincount(np.searchsorted(edges, sample), minlength=len(edges) + 1) for sample in (reference, current)]
    return psi_of_counts(*counts)


def psi_of_counts(reference: ArrayLike, current: ArrayLike) -> float:
    """Population stability index of two lists of counts; half an answer is added to each, so that none is zero."""
    counts = np.array([reference, current], np.float64)
    counts = counts[:, counts.sum(axis=0) > 0] + 0.5
    first, second = counts / counts.sum(axis=1, keepdims=True)
    return float(((second - first) * np.log(second / first)).sum())


def holm(p_values: ArrayLike, *, weights: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Holm's correction for many tests, with weights: https://www.jstor.org/stable/4615733

    It holds for tests that depend on each other in any way.

    Args:
        p_values: One of each test.
        weights: Share of the error that each test may spend, above 0.

    Returns:
        The corrected p-values: tests whose value is at most alpha are rejected, and the chance that any of them is
        rejected wrongly is at most alpha. And the shares: a test's p-value is compared with alpha times its share.
    """
    values, shares = np.asarray(p_values, np.float64), np.asarray(weights, np.float64)
    order = np.argsort(values / shares, kind="stable")
    left = np.cumsum(shares[order][::-1])[::-1]
    fractions = shares[order] / left
    corrected, kept = np.empty_like(values), np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] / fractions))
    kept[order] = fractions
    return corrected, kept
