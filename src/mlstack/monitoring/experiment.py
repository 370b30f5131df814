"""An experiment with several models on live traffic: who answers whom, what each of them did, and what follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlstack.config.serving import RolloutConfig
from mlstack.errors import ConfigError
from mlstack.monitoring.arm_counts import ArmCounts
from mlstack.monitoring.rollout import Decision, Rollout
from mlstack.monitoring.routing import Router
from mlstack.monitoring.sequential import TwoSampleTest

NO_CANARY = "this experiment has no canary"


class ArmTests:
    """E-processes for one arm against the stable one: failures and wrong answers, more and fewer of them."""

    def __init__(self) -> None:
        self._tests = {
            name: TwoSampleTest() for name in ("more_failures", "fewer_failures", "more_wrong", "fewer_wrong")
        }

    def record(self, *, stable: bool, failed: bool) -> None:
        self._tests["more_failures"].observe(treated=not stable, event=failed)
        self._tests["fewer_failures"].observe(treated=stable, event=failed)

    def feedback(self, *, stable: bool, right: bool) -> None:
        self._tests["more_wrong"].observe(treated=not stable, event=not right)
        self._tests["fewer_wrong"].observe(treated=stable, event=not right)

    def e_values(self) -> dict[str, float]:
        return {name: float(f"{test.e_value:.4g}") for name, test in self._tests.items()}


class Experiment:
    """A plain split between arms (A/B), or a canary that takes over from the stable arm. Not locked: one thread.

    Args:
        arms: All models that may answer; those without a share are asked by name only.
        stable: The arm that the others are compared with.
        split: Weights of arms, of any sum; None = the stable arm answers everything. With a canary it says how the
            rest of the traffic is split.
        canary: The arm that takes over step by step; None = a plain split.
        rules: Of the canary; its alpha is also that of all intervals in `status`.
        salt: Another salt gives other users to the canary.
        clock: Seconds since 1970.

    Attributes:
        arms: As given.
        canary: As given.

    Raises:
        ConfigError: An arm that is not there, a canary that is the stable arm or in the split, weights or steps that
            can't work.
    """

    def __init__(
        self,
        arms: Sequence[str],
        *,
        stable: str,
        split: Mapping[str, Any] | None,
        canary: str | None,
        rules: RolloutConfig,
        salt: str = "mlstack",
        clock: Callable[[], float] = time.time,
    ) -> None:
        weights = dict(split) if split else {stable: 1.0}
        named = [(stable, "stable"), *((arm, "serve.split") for arm in weights)]
        for arm, key in [*named, *([(canary, "serve.canary")] if canary is not None else [])]:
            if arm not in arms:
                raise ConfigError(f"{key} names {arm!r}, which is not served", key=key, allowed=list(arms))
        if canary is not None and (canary == stable or canary in weights):
            hint = "a canary takes over from another model: give it no share in serve.split, and another default"
            raise ConfigError(
                f"serve.canary={canary} is also the stable model or in serve.split", key="serve.canary", hint=hint
            )
        self._router = Router(weights, canary=canary, salt=salt)
        self.arms = tuple(arms)
        self.canary = canary
        self._stable = stable
        self._alpha = rules.alpha
        self._rollout = Rollout(rules, clock=clock) if canary is not None else None
        self._counts = {arm: ArmCounts() for arm in arms}
        self._comparisons = {arm: ArmTests() for arm in arms if arm != stable}
        self._route()

    def choose(self, key: str) -> str:
        """The arm that answers a user id or request key: always the same one, until the canary's share changes."""
        return self._router.arm_of(key)

    def record(self, arm: str, *, failed: bool, seconds: float, confidence: float | None) -> list[Decision]:
        """Count one answer, and look at the tests.

        Args:
            arm: Which model it came from.
            failed: Whether the service failed; a client's mistake is no failure, and should not be recorded at all.
            seconds: From the request's arrival to its answer.
            confidence: Of the answer, 0 to 1; None = it has none.

        Returns:
            What was decided thereupon: hardly ever anything.

        Raises:
            KeyError: There is no such arm.
        """
        self._counts[arm].record(failed=failed, seconds=seconds, confidence=confidence)
        for comparison in self._compared_with(arm):
            comparison.record(stable=arm == self._stable, failed=failed)
        if self._rollout is None or arm not in (self._stable, self.canary):
            return []
        return self._routed(self._rollout.record(canary=arm == self.canary, failed=failed, seconds=seconds))

    def feedback(self, arm: str, *, right: bool) -> list[Decision]:
        """Count whether an answer was right, now that its true label is known; what was decided thereupon."""
        self._counts[arm].feedback(right=right)
        for comparison in self._compared_with(arm):
            comparison.feedback(stable=arm == self._stable, right=right)
        if self._rollout is None or arm not in (self._stable, self.canary):
            return []
        return self._routed(self._rollout.feedback(canary=arm == self.canary, right=right))

    def replaced(self, arm: str) -> list[Decision]:
        """Begin anew with an arm whose model was exchanged for another version; a running canary at its first step.

        What was counted of the other arms stays; what this arm was compared with them by doesn't.
        """
        self._counts[arm] = ArmCounts()
        for other in self._comparisons if arm == self._stable else (arm,):
            self._comparisons[other] = ArmTests()
        if self._rollout is None or arm not in (self._stable, self.canary):
            return []
        return self._routed(self._rollout.replaced(canary=arm == self.canary))

    def promote(self) -> Decision:
        """Give the canary all traffic. Raises ValueError where there is none."""
        return self._routed([self._the_rollout().promote()])[0]

    def rollback(self, reason: str) -> Decision:
        """Take all traffic from the canary. Raises ValueError where there is none."""
        return self._routed([self._the_rollout().rollback(reason)])[0]

    def set_share(self, percent: float) -> Decision:
        """Give the canary 0 to 100 percent. Raises ValueError for anything else, and where there is no canary."""
        return self._routed([self._the_rollout().set_share(percent)])[0]

    def shares(self) -> dict[str, float]:
        """Each arm's share of the requests, 0 to 1."""
        return {arm: self._router.share_of(arm) for arm in self.arms}

    def status(self) -> dict[str, Any]:
        """Everything for JSON: shares in percent, latency in milliseconds, intervals that hold at all times at once."""
        shares = {arm: round(100 * self._router.share_of(arm), 4) for arm in self._counts}
        rollout = self._rollout
        return {
            "stable": self._stable,
            "level": 1 - self._alpha,
            "arms": {arm: {"share": shares[arm], **one.status(self._alpha)} for arm, one in self._counts.items()},
            "comparisons": {arm: self._compare(arm) for arm in self._comparisons},
            "canary": {"name": self.canary, **rollout.status()} if rollout is not None else None,
            "decisions": [decision.as_dict() for decision in rollout.decisions] if rollout is not None else [],
        }

    def _compare(self, arm: str) -> dict[str, Any]:
        """An arm minus the stable one; half of alpha for each of the two intervals, so that both hold together."""
        one, other, alpha = self._counts[arm], self._counts[self._stable], self._alpha / 2
        latency = [counts.latency.interval(0.5, alpha) for counts in (one, other)]
        return {
            "error_rate": _difference(one.error_rate(alpha), other.error_rate(alpha)),
            "accuracy": _difference(one.accuracy(alpha), other.accuracy(alpha)),
            "confidence": _difference(one.confidence.interval(alpha), other.confidence.interval(alpha)),
            "latency_p50_ratio": _ratio(*latency),
            "e_values": self._comparisons[arm].e_values(),
        }

    def _compared_with(self, arm: str) -> list[ArmTests]:
        return list(self._comparisons.values()) if arm == self._stable else [self._comparisons[arm]]

    def _the_rollout(self) -> Rollout:
        if self._rollout is None:
            raise ValueError(NO_CANARY)
        return self._rollout

    def _routed(self, decisions: list[Decision]) -> list[Decision]:
        """The same decisions; from now on keys go where they say."""
        if decisions:
            self._route()
        return decisions

    def _route(self) -> None:
        if self._rollout is not None:
            self._router.share = self._rollout.share / 100


def _difference(one: tuple[float, float], other: tuple[float, float]) -> dict[str, float]:
    return {"low": round(one[0] - other[1], 6), "high": round(one[1] - other[0], 6)}


def _ratio(one: tuple[float, float], other: tuple[float, float]) -> dict[str, float | None]:
    """Low and high; None where too little is known."""
    low = one[0] / other[1]  # a bin's edge, or infinity: never 0
    high = one[1] / other[0] if other[0] > 0 else float("inf")
    return {"low": round(low, 6), "high": round(high, 6) if high < float("inf") else None}
