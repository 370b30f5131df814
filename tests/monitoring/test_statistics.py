from __future__ import annotations

import math

import numpy as np
import pytest

from mlstack.monitoring.special_functions import (
    chi_squared_tail,
    kolmogorov_tail,
    normal_tails,
    student_tails,
)
from mlstack.monitoring.statistics import (
    holm,
    ks_test,
    largest_share_change,
    mean_test,
    psi,
    psi_of_counts,
    shares_test,
    variance_test,
    welch_test,
)


def test_tails_have_the_values_that_tables_give() -> None:
    assert normal_tails(-1.959963985) == pytest.approx(0.05)
    assert kolmogorov_tail(1.358099) == pytest.approx(0.05, rel=1e-5)
    assert chi_squared_tail(3.841458821, 1) == pytest.approx(0.05)
    assert student_tails(2.228138852, 10) == pytest.approx(0.05)


def test_tails_are_one_at_zero_and_zero_at_infinity() -> None:
    assert kolmogorov_tail(0) == chi_squared_tail(0, 3) == student_tails(0, 3) == 1
    assert kolmogorov_tail(40) == chi_squared_tail(1e5, 3) == student_tails(math.inf, 3) == 0


def test_equal_samples_show_no_difference() -> None:
    sample = np.random.default_rng(0).normal(size=50)
    for test in (ks_test, welch_test, mean_test, variance_test):
        assert test(sample, sample) == (0, 1)


def test_constants_differ_wholly_or_not_at_all() -> None:
    one, other = np.full(20, 3.0), np.full(30, 4.0)
    for test in (ks_test, welch_test, mean_test):
        assert test(one, one[:10]).p_value == 1
        assert test(one, other).p_value < 1e-9
    assert variance_test(one, other).p_value == 1


def test_a_single_value_tells_nothing_about_means() -> None:
    assert mean_test(np.array([1.0]), np.arange(9.0)) == (0, 1)


def test_the_statistic_is_positive_where_the_second_sample_is_larger_or_varies_more() -> None:
    random = np.random.default_rng(0)
    low, high = random.normal(0, 1, 200), random.normal(1, 3, 200)
    assert mean_test(low, high).statistic > 0 > mean_test(high, low).statistic
    assert variance_test(low, high).statistic > 0 > variance_test(high, low).statistic


def test_of_skewed_values_a_small_sample_raises_no_more_alarms_than_announced() -> None:
    random = np.random.default_rng(0)
    tests = {"welch": welch_test, "ours": mean_test}
    alarms = dict.fromkeys(tests, 0)
    for _ in range(1000):
        small, large = random.exponential(size=30) ** 2, random.exponential(size=500) ** 2
        for name, test in tests.items():
            alarms[name] += test(small, large).p_value < 0.005
    assert alarms["ours"] <= 10 < alarms["welch"]


def test_rare_classes_are_taken_together_in_the_test_of_shares() -> None:
    first, second = [500, 300, 3, 0, 2, 1], [250, 150, 0, 2, 1, 0]
    assert shares_test(first, second).p_value == pytest.approx(shares_test([500, 306], [250, 153]).p_value)


def test_rare_classes_that_are_enough_together_stand_alone() -> None:
    first, second = [500, 300, 4, 4, 4, 4], [250, 150, 4, 4, 4, 4]
    assert shares_test(first, second) == pytest.approx(shares_test([500, 300, 16], [250, 150, 16]))
    # 5 expected answers of 1,000 among 3,000 are 15 in both samples: just enough, and one fewer is too few
    for rare, alone in (((7, 8), True), ((7, 7), False)):
        counts = [1500, 500 - rare[0], rare[0]], [800, 200 - rare[1], rare[1]]
        degrees = 2 if alone else 1
        found = shares_test(*counts)
        assert found.p_value == pytest.approx(chi_squared_tail(found.statistic, degrees))


def test_a_thousand_classes_of_few_answers_raise_no_false_alarm() -> None:
    random = np.random.default_rng(0)
    shares = np.full(1000, 0.001)
    found = [shares_test(random.multinomial(1000, shares), random.multinomial(500, shares)).p_value for _ in range(300)]
    assert np.mean(np.array(found) < 0.01) <= 0.02


@pytest.mark.parametrize(("first", "second"), [([0, 0], [0, 0]), ([5, 0], [3, 0]), ([9, 0], [0, 0]), ([1, 1], [1, 1])])
def test_shares_of_too_few_answers_tell_nothing(first: list[int], second: list[int]) -> None:
    assert shares_test(first, second) == (0, 1)


def test_the_class_that_doubled_is_named() -> None:
    change = largest_share_change([100] * 10, 1000, [45, 45, 95, *[45] * 7], 500)
    assert change.place == 2
    assert change.statistic == pytest.approx(0.09)
    assert change.p_value < 1e-3


def test_a_class_that_is_new_among_a_thousand_is_found() -> None:
    first, second = np.ones(1000, np.int64), np.zeros(1000, np.int64)
    second[7], second[100:570] = 30, 1
    change = largest_share_change(first, 1000, second, 500)
    assert change.place == 7
    assert change.p_value < 1e-6


def test_classes_too_rare_to_be_told_from_chance_are_left_out() -> None:
    assert largest_share_change([1, 2], 3, [3, 0], 3) == (0, 1, None)


def test_the_largest_share_change_raises_no_more_alarms_than_announced() -> None:
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.ones(20))
    found = [
        largest_share_change(random.multinomial(1000, shares), 1000, random.multinomial(500, shares), 500).p_value
        for _ in range(1000)
    ]
    assert np.mean(np.array(found) <= 0.05) <= 0.06


def test_psi_is_near_zero_without_a_shift_and_above_its_limit_with_one() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=1000)
    assert psi(reference, random.normal(size=500)) < 0.1
    assert psi(reference, random.normal(1, 1, 500)) > 0.2
    assert psi(np.zeros(100), np.zeros(50)) == 0
    assert psi_of_counts([50, 50, 0], [50, 50, 0]) == 0
    assert psi_of_counts([50, 50, 0], [0, 50, 50]) > 0.2


def test_holm_corrects_as_its_worked_example() -> None:
    corrected, shares = holm([0.01, 0.04, 0.03, 0.005], weights=[1, 1, 1, 1])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert shares == pytest.approx([1 / 3, 1, 1 / 2, 1 / 4])


def test_holm_lets_a_heavier_test_reject_sooner() -> None:
    corrected, shares = holm([0.006, 0.006], weights=[9, 1])
    assert corrected[0] == pytest.approx(0.006 / 0.9)
    assert shares == pytest.approx([0.9, 1])
    assert holm([2.0, 0.5], weights=[1, 1])[0].max() == 1
