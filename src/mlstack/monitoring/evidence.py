"""What speaks against a canary: anytime-valid tests of its failures, wrong answers and latency, and the hard limits.

The rollout's alpha, the chance to roll back a canary that is no worse, is shared out by `PARTS`; the chances of several
tests add up to at most alpha, however they depend on each other. A limit is exceeded when that is credible, not when
the figures of a moment say so: 3 failures of 100 are more than twice 1 %, and happen to 8 of 100 sound canaries.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config.serving import RolloutConfig
from mlstack.monitoring.arm_counts import LatencyHistogram
from mlstack.monitoring.sequential import Capital, TwoSampleTest

PARTS = {"failures": 0.4, "wrong_answers": 0.3, "error_limit": 0.1, "latency_p50": 0.1, "latency_p95": 0.1}
WITHIN_LIMITS = 5.0  # times the evidence, where failures are within the hard limit or too few answers came for it
FIRST_ANSWERS = 20  # of the stable model, before its latency is known well enough to compare with


@dataclass(frozen=True)
class Finding:
    """A reason to take the canary's share away, in one sentence, and the e-value of the test that found it."""

    reason: str
    e_value: float


class SlowerTest:
    """An e-process against: a quantile of the canary's latency is at most `ratio` times the stable model's.

    An event is a stable answer slower than the stable model's running quantile, or a canary answer slower than `ratio`
    times that. The quantile is fixed before each block, so that what `TwoSampleTest` promises holds while the canary's
    latency divided by `ratio` is stochastically no larger than the stable model's, whatever their distributions.

    Args:
        part: Which quantile, 0 to 1.
        ratio: How much slower the canary may be.
    """

    def __init__(self, part: float, ratio: float) -> None:
        self.test = TwoSampleTest()
        self.quantile = 0.0  # seconds, of the stable model
        self._part = part
        self._ratio = ratio
        self._known = FIRST_ANSWERS / 1.1

    def observe(self, *, canary: bool, seconds: float, stable: LatencyHistogram) -> None:
        """Count one answer; `stable` doesn't hold it yet."""
        if self.test.between_blocks and stable.count >= 1.1 * self._known:
            self._known = stable.count
            self.quantile = stable.quantile(self._part)
        if self.quantile:
            limit = self._ratio * self.quantile if canary else self.quantile
            self.test.observe(treated=canary, event=seconds > limit)


class Evidence:
    """Everything that was seen of canary and stable model since a rollout began.

    Args:
        rules: Limits and alpha.

    Attributes:
        e_limits: The e-value from which each test counts: its part of alpha, inverted.
    """

    def __init__(self, rules: RolloutConfig) -> None:
        self._rules = rules
        self.e_limits = {name: round(1 / (part * rules.alpha), 3) for name, part in PARTS.items()}
        self.failures = TwoSampleTest()
        self.wrong = TwoSampleTest()
        self._error_limit = Capital()
        self._slower = {
            "latency_p50": SlowerTest(0.5, rules.max_latency_ratio),
            "latency_p95": SlowerTest(0.95, rules.max_latency_ratio),
        }
        self._latency = (LatencyHistogram(), LatencyHistogram())  # of the stable model, of the canary

    @property
    def answers(self) -> int:
        """Of the canary."""
        return self.failures.answers[True]

    def record(self, *, canary: bool, failed: bool, seconds: float) -> None:
        """Count one answer; a failed one's time counts too, so that the tests see the same blocks of answers."""
        self.failures.observe(treated=canary, event=failed)
        if canary:
            self._error_limit.bet(event=failed, chance=self._rules.max_error_rate)
        for test in self._slower.values():
            test.observe(canary=canary, seconds=seconds, stable=self._latency[False])
        self._latency[canary].observe(seconds)

    def feedback(self, *, canary: bool, right: bool) -> None:
        self.wrong.observe(treated=canary, event=not right)

    def e_values(self) -> dict[str, float]:
        """The capital of each test."""
        return {
            "failures": self.failures.e_value,
            "wrong_answers": self.wrong.e_value,
            "error_limit": self._error_limit.e_value,
            **{name: test.test.e_value for name, test in self._slower.items()},
        }

    def finding(self) -> Finding | None:
        """The first test that is credibly lost; None = nothing speaks against the canary."""
        limits, enough = self.e_limits, self.answers >= self._rules.min_requests
        found = self.failures.e_value
        above = self._too_many_failures()
        if found >= limits["failures"] * (1 if above and enough else WITHIN_LIMITS):
            return self._failed_too_often(found, above=above)
        if self.wrong.e_value >= limits["wrong_answers"]:
            return self._wrong_too_often()
        if enough and self._error_limit.e_value >= limits["error_limit"]:
            rate = self.failures.rate(treated=True)
            reason = f"{rate:.2%} of {self.answers} answers failed, allowed {self._rules.max_error_rate:.2%}"
            return Finding(reason, self._error_limit.e_value)
        for name, test in self._slower.items() if enough else ():
            if test.test.e_value >= limits[name]:
                return self._too_slow(name, test)
        return None

    def doubt(self) -> str | None:
        """Why the canary should not get more traffic yet: a figure beyond a hard limit, credible or not."""
        failed, allowed = self.failures.rate(treated=True), self._rules.max_error_rate
        if failed > allowed:
            return f"{failed:.2%} of {self.answers} answers failed so far, allowed {allowed:.2%}"
        if self._too_many_failures(spared=1):
            return f"{self._failure_rates()} so far, allowed {self._rules.max_error_ratio:g} times as many"
        stable, canary = (histogram.quantile(0.5) for histogram in self._latency)
        if 0 < stable * self._rules.max_latency_ratio < canary:
            return (
                f"half of the answers took more than {canary * 1e3:.3g} ms, of the stable model {stable * 1e3:.3g} ms"
            )
        return None

    def _too_many_failures(self, *, spared: int = 0) -> bool:
        """Whether more failed than `max_error_ratio` allows; so many failures of the canary are not counted.

        The stable model is granted one failure more: otherwise any canary's would be infinitely many times its none.
        """
        answers, failures = self.failures.answers, self.failures.events
        if not answers[False]:
            return False
        granted = (failures[False] + 1) / (answers[False] + 1)
        return failures[True] - spared > self._rules.max_error_ratio * granted * answers[True]

    def _failure_rates(self) -> str:
        canary, stable = self.failures.rate(treated=True), self.failures.rate(treated=False)
        return f"{canary:.2%} of {self.answers} answers failed, of the stable model {stable:.2%}"

    def _failed_too_often(self, e_value: float, *, above: bool) -> Finding:
        limit = f": more than {self._rules.max_error_ratio:g} times as many" if above else ""
        return Finding(f"{self._failure_rates()}{limit}", e_value)

    def _wrong_too_often(self) -> Finding:
        canary, stable = self.wrong.rate(treated=True), self.wrong.rate(treated=False)
        labels = self.wrong.answers[True]
        reason = f"{canary:.2%} of {labels} answers with a known label were wrong, of the stable model {stable:.2%}"
        return Finding(reason, self.wrong.e_value)

    def _too_slow(self, name: str, test: SlowerTest) -> Finding:
        slow, limit = test.test.rate(treated=True), test.quantile * self._rules.max_latency_ratio
        usual = test.test.rate(treated=False)
        times = f"{self._rules.max_latency_ratio:g} times the stable model's {name.removeprefix('latency_')}"
        reason = (
            f"{slow:.1%} of {self.answers} answers took more than {limit * 1e3:.3g} ms, {times}; expected {usual:.1%}"
        )
        return Finding(reason, test.test.e_value)
