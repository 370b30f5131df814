"""How often a canary is rolled back, rightly and wrongly: `python benchmarks/serving/canary.py [simulations]`.

Half an hour for 1,000 simulations, the default. Random numbers stand for the traffic, looked at after every request.
The first table runs the service's own code with its default rules, from 1 % of the traffic to all of it. The second one
computes the test of failures for all simulations at once, for a longer way and more rates; its figures are compared
with the service's code on the same answers first.

Counts of requests are median / 95 %. Expect: 6 % of failures against 1 %: rolled back within 2,000 canary requests in
≥ 95 %; equal rates: in ≤ 5 %, ever.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlstack.config.serving import RolloutConfig
from mlstack.monitoring.evidence import PARTS, WITHIN_LIMITS
from mlstack.monitoring.experiment import Experiment
from mlstack.monitoring.sequential import HALF_LIFE, MAX_BLOCK, ODDS_RATIOS, TwoSampleTest

CHUNK = 4096
LONG_WAY = ((0.01, 5000), (0.05, 5000), (0.25, 5000), (0.5, 5000))  # shares, and the canary's answers at each
PATIENCE = 40_000  # canary answers after which a rollout that still waits is given up


@dataclass(frozen=True)
class Case:
    """Traffic of one kind: chances of a failure, and how much slower the canary is."""

    stable: float
    canary: float
    slower: float = 1.0

    def __str__(self) -> str:
        slower = f", {self.slower:g} × as slow" if self.slower != 1 else ""
        return f"{self.canary:.2%} against {self.stable:.2%}{slower}"


BAD = (Case(0.01, 0.03), Case(0.01, 0.02), Case(0.01, 0.01, slower=3.0))


def main() -> None:
    """Print both tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("the service's code, default rules\n")
    print("| failures | simulations | rolled back | within 2,000 | after canary requests | promoted | after |")
    print("|---|---|---|---|---|---|---|")
    for case, simulations in (
        (Case(0.01, 0.06), count),
        (Case(0.01, 0.01), count),
        *[(bad, count // 5) for bad in BAD],
    ):
        print(through_the_service(case, max(1, simulations)), flush=True)
    print(f"\nthe test of failures alone, {sum(n for _, n in LONG_WAY):,} canary requests, {count} simulations of each")
    print(f"largest difference to the service's code: {largest_difference():.1e}")
    print("| failures | rolled back | within 2,000 | after canary requests | by the figures of a moment alone |")
    print("|---|---|---|---|---|")
    for stable, canary in ((0.01, 0.06), (0.01, 0.03), (0.01, 0.02), (0.01, 0.015), (0.04, 0.08)):
        print(all_at_once(Case(stable, canary), count), flush=True)
    for rate in (0.001, 0.01, 0.03, 0.04, 0.3):
        print(all_at_once(Case(rate, rate), count), flush=True)


def through_the_service(case: Case, count: int) -> str:
    """One line: rollouts from the first step until they are promoted, rolled back or given up."""
    ends = [rollout(case, np.random.default_rng(seed)) for seed in range(count)]
    back = np.array([answers for state, answers in ends if state == "rolled_back"])
    through = np.array([answers for state, answers in ends if state == "promoted"])
    within = float((back <= 2000).sum()) / count
    return (
        f"| {case} | {count} | {len(back) / count:.1%} | {within:.1%} | {spread(back)} "
        f"| {len(through) / count:.1%} | {spread(through)} |"
    )


def rollout(case: Case, rng: np.random.Generator) -> tuple[str, int]:
    """How one rollout ended, and the canary's answers until then. Ten requests a second."""
    now = 0.0
    experiment = Experiment(["a", "b"], stable="a", split=None, canary="b", rules=RolloutConfig(), clock=lambda: now)
    share, answers = 0.01, 0
    for place, failure, seconds in traffic(rng):
        canary = place < share
        now += 0.1
        answers += canary
        chance, slower = (case.canary, case.slower) if canary else (case.stable, 1.0)
        decisions = experiment.record(
            "b" if canary else "a", failed=failure < chance, seconds=seconds * slower, confidence=None
        )
        if decisions:
            share = decisions[0].after / 100
        if decisions and decisions[0].kind in ("promoted", "rolled_back"):
            return decisions[0].kind, answers
        if answers >= PATIENCE:
            break
    return "waiting", answers


def traffic(rng: np.random.Generator) -> Iterator[tuple[float, float, float]]:
    """Place on the line that is split, luck, and latency: log-normal, 2 % of the answers take ten times as long."""
    while True:
        seconds = rng.lognormal(-4, 0.6, CHUNK) * np.where(rng.random(CHUNK) < 0.02, 10, 1)
        yield from zip(rng.random(CHUNK).tolist(), rng.random(CHUNK).tolist(), seconds.tolist(), strict=True)


class Capitals:
    """`Capital` of many simulations at once; arrays are float64 [simulation, odds ratio] and [simulation]."""

    def __init__(self, count: int) -> None:
        self.stakes = np.full((count, len(ODDS_RATIOS)), 0.5 / len(ODDS_RATIOS))
        self.rounds = 0

    def bet(self, event: NDArray[np.bool_], chance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bet in each simulation; a chance of exactly 0 or 1 changes nothing but the reserve. Returns the capitals."""
        before, after = (0.5 / (1 + rounds / HALF_LIFE) for rounds in (self.rounds, self.rounds + 1))
        self.rounds += 1
        ratios = np.array(ODDS_RATIOS)
        factor = np.where(event[:, None], ratios, 1.0) / (1 + chance[:, None] * (ratios - 1))
        factor[(chance == 0) | (chance == 1)] = 1
        self.stakes = np.minimum((self.stakes + (before - after) / len(ratios)) * factor, 1e300)
        return self.stakes.sum(axis=1) + after


def blocks(share: float, case: Case, rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], ...]:
    """One block in each simulation: length of the run, events in it, whether its end is the canary, and an event."""
    ends_with_canary = rng.random(count) >= share
    run = (np.where(ends_with_canary, rng.geometric(share, count), rng.geometric(1 - share, count)) - 1) % MAX_BLOCK + 1
    events = rng.binomial(run, np.where(ends_with_canary, case.stable, case.canary))
    last = rng.random(count) < np.where(ends_with_canary, case.canary, case.stable)
    return run, events, ends_with_canary, last


def all_at_once(case: Case, count: int) -> str:
    """One line: how many simulations the test of failures rolls back, on the whole long way."""
    rng, rules = np.random.default_rng(0), RolloutConfig()
    capitals = Capitals(count)
    answers = np.zeros((2, count))
    failures = np.zeros((2, count))
    ended, naive = np.zeros(count), np.zeros(count, bool)
    limit = 1 / (PARTS["failures"] * rules.alpha)
    for share, until in LONG_WAY:
        goal = answers[1].mean() + until
        while answers[1].mean() < goal:
            run, events, by_canary, last = blocks(share, case, rng, count)
            for arm, single in ((0, ~by_canary), (1, by_canary)):
                answers[arm] += np.where(single, 1, run)
                failures[arm] += np.where(single, last, events)
            chance = (events + last) / (run + 1)
            e_value = capitals.bet(np.where(by_canary, last, ~last), np.where(by_canary, chance, 1 - chance))
            granted = rules.max_error_ratio * (failures[0] + 1) / (answers[0] + 1) * answers[1]
            above = (failures[1] > granted) & (answers[1] >= rules.min_requests)
            found = (ended == 0) & (e_value >= np.where(above, limit, WITHIN_LIMITS * limit))
            ended[found] = answers[1][found]
            beyond = failures[1] * answers[0] > rules.max_error_ratio * failures[0] * answers[1]
            naive |= beyond & (answers[1] >= rules.min_requests)
    back = ended[ended > 0]
    within = f"{(back <= 2000).sum() / count:.1%} | {spread(back)}"
    return f"| {case} | {len(back) / count:.1%} | {within} | {naive.mean():.1%} |"


def largest_difference() -> float:
    """Of capitals, relative, between `Capitals` and `TwoSampleTest` after 1,000 blocks each of three shares."""
    rng, case = np.random.default_rng(1), Case(0.03, 0.04)
    worst = 0.0
    for share in (0.02, 0.3, 0.6):
        capitals, test = Capitals(1), TwoSampleTest()
        for _ in range(1000):
            run, events, by_canary, last = (int(values[0]) for values in blocks(share, case, rng, 1))
            for at in range(run):
                test.observe(treated=not by_canary, event=at < events)
            test.observe(treated=bool(by_canary), event=bool(last))
            won, chance = bool(last) == bool(by_canary), (events + last) / (run + 1)
            e_value = capitals.bet(np.array([won]), np.array([chance if by_canary else 1 - chance]))[0]
            worst = max(worst, abs(e_value / test.e_value - 1))
    return worst


def spread(answers: NDArray[np.float64]) -> str:
    if not len(answers):
        return "–"
    return f"{np.median(answers):,.0f} / {np.quantile(answers, 0.95):,.0f}"


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"\n{time.monotonic() - began:.0f} s")
