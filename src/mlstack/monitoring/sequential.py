"""Tests and intervals that may be looked at after every observation, and stopped at any time.

An e-process is the capital of somebody who bets against a hypothesis. While the hypothesis holds, the chance that it
ever reaches 1/alpha is at most alpha (Ville's inequality), however often one looks. See
https://arxiv.org/abs/2210.01948 for the field, https://arxiv.org/abs/2106.02693 (Turner, Ly, Grünwald) for two samples
in blocks, https://arxiv.org/abs/2010.09686 (Waudby-Smith, Ramdas) for means of bounded values.
"""

from __future__ import annotations

import math
from collections.abc import Callable

ODDS_RATIOS = (1.3, 1.8, 3.0, 6.0, 15.0, 60.0)  # bets on these alternatives, from slightly to hopelessly worse
HALF_LIFE = 1000.0  # bets after which half of the reserve has been staked
MAX_BLOCK = 500  # answers of one arm that wait for the other arm's: older ones tell of other times
LARGEST = 1e300


class Capital:
    """An e-process against: each event's chance, given all before it, is at most the one that `bet` is told.

    The bet on an odds ratio r multiplies its stake by r^event / (1 + chance · (r − 1)): this is 1 in the mean where the
    chance is exact, and less where it is smaller. The capital is the sum over `ODDS_RATIOS` with equal stakes.

    Half of it is staked at the start. The rest is a reserve of 0.5 / (1 + t / `HALF_LIFE`) after t bets, and what it
    loses is staked on the way: a mixture over the time at which things turn bad, of weights that sum to 1, and
    therefore an e-process too. Without it, a long good time would leave no capital to notice a late change with.

    Attributes:
        e_value: The capital, 1 at the start; at most `LARGEST`.
    """

    __slots__ = ("_reserve", "_rounds", "_stakes", "e_value")

    def __init__(self) -> None:
        self._stakes = [0.5 / len(ODDS_RATIOS)] * len(ODDS_RATIOS)
        self._reserve = 0.5
        self._rounds = 0
        self.e_value = 1.0

    def skip(self) -> None:
        """A bet that can neither win nor lose."""
        self._rounds += 1

    def bet(self, *, event: bool, chance: float) -> None:
        """Bet once.

        Args:
            event: Whether it happened.
            chance: The greatest chance that it has under the hypothesis, 0 to 1.
        """
        self._rounds += 1
        reserve = 0.5 / (1 + self._rounds / HALF_LIFE)
        fresh = (self._reserve - reserve) / len(ODDS_RATIOS)
        self._reserve = reserve
        self._stakes = [
            min(LARGEST, (stake + fresh) * (ratio if event else 1.0) / (1 + chance * (ratio - 1)))
            for stake, ratio in zip(self._stakes, ODDS_RATIOS, strict=True)
        ]
        self.e_value = min(LARGEST, sum(self._stakes) + reserve)


class TwoSampleTest:
    """An e-process against: events are no more frequent (in odds) in the treated arm than in the control arm.

    Guarantee: given which arm each answer came from, let the answers be independent, with chances that are constant
    within a block and otherwise as they like. While the treated arm's chance is at most the control arm's in each
    block, `e_value` ever reaches 1/alpha with a chance of at most alpha. Nothing else is assumed: no minimum count, no
    known rate, no fixed share of traffic; shares may change at any time, by what was seen too.

    A block is a run of answers of one arm and the first answer of the other one. Given how many of its n answers are
    events (t), the single answer is one of them with a chance of t/n if both arms have the same odds: Fisher's exact
    argument, which holds whatever the rate is. The bets are on Fisher's noncentral hypergeometric distribution, which
    for one answer against n−1 is the Bernoulli distribution of `Capital.bet`; for treated odds below the control's, a
    win is rarer and the bound remains.

    Deviations from Turner, Ly and Grünwald: blocks are as long as traffic makes them instead of of fixed size, and
    the rate is conditioned away instead of being estimated. A run longer than `MAX_BLOCK` is dropped and begun anew.

    What breaks it is dependence: failures that come in bursts and hit a single arm by chance, or one user with a large
    part of the traffic whose pictures all fail.
    """

    __slots__ = ("_capital", "_run", "_run_events", "_run_is_treated", "answers", "events")

    def __init__(self) -> None:
        self._capital = Capital()
        self._run_is_treated = False
        self._run = self._run_events = 0
        self.answers = [0, 0]  # of the control arm, of the treated arm
        self.events = [0, 0]

    @property
    def e_value(self) -> float:
        return self._capital.e_value

    @property
    def between_blocks(self) -> bool:
        """Whether no answer waits for the other arm's."""
        return self._run == 0

    def rate(self, *, treated: bool) -> float:
        """Events among the answers of an arm; 0 before the first answer."""
        return self.events[treated] / max(1, self.answers[treated])

    def observe(self, *, treated: bool, event: bool) -> None:
        self.answers[treated] += 1
        self.events[treated] += event
        if self._run and treated != self._run_is_treated:
            self._close(treated=treated, event=event)
            return
        if self._run >= MAX_BLOCK:
            self._run = self._run_events = 0
        self._run_is_treated = treated
        self._run += 1
        self._run_events += event

    def _close(self, *, treated: bool, event: bool) -> None:
        """Bet on the single answer that ends a block."""
        size, events = self._run + 1, self._run_events + event
        self._run = self._run_events = 0
        if events in (0, size):
            self._capital.skip()
        elif treated:
            self._capital.bet(event=event, chance=events / size)
        else:
            self._capital.bet(event=not event, chance=1 - events / size)


class BoundedMean:
    """Confidence sequence for the mean of values in [0, 1], in constant memory.

    The predictable plug-in empirical Bernstein sequence, theorem 2 of https://arxiv.org/abs/2010.09686, with c = 1/2.
    Values outside of [0, 1] are moved to its ends.
    """

    __slots__ = ("_error", "_spread", "_total", "_weight", "_weighted", "count")
    TUNED_FOR = 2 * math.log(2 / 0.05)

    def __init__(self) -> None:
        self.count = 0
        self._total, self._spread = 0.5, 0.25  # a first value of 1/2 with a variance of 1/4, as in the paper
        self._weight = self._weighted = self._error = 0.0

    def observe(self, value: float) -> None:
        value = min(1.0, max(0.0, value))
        self.count += 1
        before = self._total / self.count
        variance = self._spread / self.count
        weight = min(0.5, math.sqrt(self.TUNED_FOR / (variance * self.count * math.log(1 + self.count))))
        self._weight += weight
        self._weighted += weight * value
        self._error += (value - before) ** 2 * (-math.log1p(-weight) - weight)
        self._total += value
        self._spread += (value - self._total / (self.count + 1)) ** 2

    @property
    def mean(self) -> float:
        return (self._total - 0.5) / max(1, self.count)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Low and high: they hold the mean at all times at once, with a chance of at least 1 − alpha."""
        if not self.count:
            return 0.0, 1.0
        centre, half = self._weighted / self._weight, (math.log(2 / alpha) + self._error) / self._weight
        return max(0.0, centre - half), min(1.0, centre + half)


def rate_interval(events: int, answers: int, alpha: float) -> tuple[float, float]:
    """Confidence sequence for the chance of an event: holds at all times at once, with a chance of at least 1 − alpha.

    The chances that a bettor with a Beta(1/2, 1/2) mixture over the true one has not won 1/alpha against.
    """
    if answers == 0:
        return 0.0, 1.0
    mixture = _log_beta(events + 0.5, answers - events + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)
    rate = events / answers

    def refuted(chance: float) -> bool:
        return mixture > _times_log(events, chance) + _times_log(answers - events, 1 - chance)

    low = _border(rate, 0.0, refuted) if events else 0.0
    high = _border(rate, 1.0, refuted) if events < answers else 1.0
    return low, high


def credible_counts(chance: float, answers: int, alpha: float) -> tuple[int, int]:
    """Fewest and most events among some answers, for which `rate_interval` still holds a chance in (0, 1)."""
    bound = _log_beta(0.5, 0.5) - math.log(alpha)

    def refuted(count: float) -> bool:
        likelihood = _times_log(count, chance) + _times_log(answers - count, 1 - chance)
        return _log_beta(count + 0.5, answers - count + 0.5) - likelihood > bound

    likely = chance * answers
    low = math.ceil(_border(likely, 0.0, refuted)) if refuted(0.0) else 0
    high = math.floor(_border(likely, float(answers), refuted)) if refuted(float(answers)) else answers
    return low, high


def _border(inside: float, outside: float, refuted: Callable[[float], bool]) -> float:
    """Where a test begins to refute, between a value that it accepts and one that it refutes; from outside."""
    for _ in range(60):
        middle = (inside + outside) / 2
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)


def _times_log(count: float, chance: float) -> float:
    """Count × log(chance), where 0 × log(0) is 0."""
    return count * math.log(chance) if count > 0 and chance > 0 else (-math.inf if count > 0 else 0.0)
