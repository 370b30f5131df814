from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from mlstack.monitoring.special_functions import chi_squared_tail, kolmogorov_tail, normal_tails, student_tails
from mlstack.monitoring.statistics import ks_test, largest_share_change, shares_test, variance_test, welch_test

POINTS = [0.01, 0.05, 0.2, 0.5, 0.99, 1.0, 1.01, 1.7, 3.0, 5.0, 8.0, 20.0]
DEGREES = [1, 2, 3.7, 9, 49, 500, 1498]


@pytest.mark.parametrize("x", POINTS)
def test_tails_are_scipys(x: float) -> None:
    assert normal_tails(x) == pytest.approx(2 * stats.norm.sf(x), rel=1e-12)
    assert kolmogorov_tail(x) == pytest.approx(special.kolmogorov(x), rel=1e-9, abs=1e-14)
    for degrees in DEGREES:
        assert student_tails(x, degrees) == pytest.approx(2 * stats.t.sf(x, degrees), rel=1e-9)
        for far in (x, x * degrees, degrees + 4 * x * degrees**0.5):
            assert chi_squared_tail(far, degrees) == pytest.approx(stats.chi2.sf(far, degrees), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("digits", [0, 6])
def test_tests_of_samples_are_scipys(seed: int, shift: float, digits: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(0, 1, 1000).round(digits), random.normal(shift, 1 + shift, 500).round(digits)
    expected = stats.ks_2samp(first, second, method="exact")
    ours = ks_test(first, second)
    assert ours.statistic == pytest.approx(expected.statistic)
    assert ours.p_value == pytest.approx(expected.pvalue, rel=0.25, abs=0.01)
    assert ours.p_value >= expected.pvalue * 0.99
    expected = stats.ttest_ind(second, first, equal_var=False)
    assert welch_test(first, second) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_variance_test_is_the_less_sure_one_of_scipys_two(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(0, 1, 1000), random.normal(0, 1.1, 500)
    brown_forsythe = stats.levene(first, second, center="median").pvalue
    distances = (np.abs(sample - np.median(sample)) for sample in (first, second))
    welch = stats.ttest_ind(*distances, equal_var=False).pvalue
    assert variance_test(first, second).p_value == pytest.approx(max(brown_forsythe, welch), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_tests_of_counts_are_scipys(seed: int) -> None:
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(6, 20.0))
    first, second = random.multinomial(1000, shares), random.multinomial(500, shares)
    expected = stats.chi2_contingency([first, second], correction=False)
    assert shares_test(first, second) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    change = largest_share_change(first, 1000, second, 500)
    assert change.p_value == pytest.approx(min(1.0, min(map(mid_p, first, second)) * 6), rel=1e-9)


@pytest.mark.parametrize("size", [6000, 2_000_000])
@pytest.mark.parametrize("share", [0.00005, 0.1, 0.99])
@pytest.mark.parametrize("b", [0, 9, 90, 491, 500])
def test_one_class_of_many_pictures_is_scipys(size: int, share: float, b: int) -> None:
    a = round(share * size)
    change = largest_share_change([a], size, [b], 500)
    expected = mid_p(a, b, size) if a + b >= 10 else 1.0
    assert change.p_value == pytest.approx(expected, rel=1e-6, abs=1e-200)


def mid_p(a: int, b: int, size: int = 1000) -> float:
    """Two-sided, of a of `size` against b of 500."""
    known = stats.hypergeom(size + 500, a + b, size)
    return min(1.0, 2 * min(known.cdf(a), known.sf(a - 1)) - known.pmf(a))
