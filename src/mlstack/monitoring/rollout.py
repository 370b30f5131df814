"""A canary's way from its first share of the traffic to all of it, or back to none.

    running      it has a share, and gets the next one after `step_requests` answers and `step_seconds`
    promoted     it has all the traffic            rolled_back   it has none: a rule or a hand took it away
    stopped      it has none: a hand set its share to 0

A hand may promote, roll back or set a share in each of these states. Whoever leaves another state than `running` this
way begins anew: what was seen before says nothing about the canary as it is now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlstack.config.serving import RolloutConfig
from mlstack.errors import ConfigError
from mlstack.monitoring.evidence import Evidence, Finding

STEPS = "serve.rollout.steps"
KEPT_DECISIONS = 100


@dataclass(frozen=True)
class Decision:
    """A change of the canary's share, or the advice to make one.

    Args:
        kind: advanced, promoted, rolled_back, share_set or advice.
        before: Share until now, in percent.
        after: Share from now on, in percent; of an advice: the advised one.
        reason: One sentence with the figures.
        at: ISO 8601, UTC.
        e_value: Of the test that decided, otherwise the largest; 1 = nothing seen yet.
    """

    kind: str
    before: float
    after: float
    reason: str
    at: str
    e_value: float

    def as_dict(self) -> dict[str, Any]:
        """The same with `from` and `to`, for JSON."""
        shares = {"from": self.before, "to": self.after}
        return {"kind": self.kind, **shares, "reason": self.reason, "at": self.at, "e_value": round(self.e_value, 4)}


class Rollout:
    """Steps, rules and decisions of one canary. Not locked: one thread at a time.

    Args:
        rules: Steps, limits and alpha.
        clock: Seconds since 1970.

    Raises:
        ConfigError: The steps don't rise, or leave (0, 100].
    """

    def __init__(self, rules: RolloutConfig, *, clock: Callable[[], float]) -> None:
        steps = [float(step) for step in rules.steps]
        if not steps or steps != sorted(set(steps)) or not 0 < steps[0] <= steps[-1] <= 100:
            raise ConfigError(f"{STEPS} is {rules.steps}, expected rising shares above 0 and up to 100", key=STEPS)
        self._rules = rules
        self._steps = steps
        self._clock = clock
        self.decisions: deque[Decision] = deque(maxlen=KEPT_DECISIONS)
        self.evidence = Evidence(rules)
        self.state = "running"
        self.share = 0.0
        self._step_answers = self._enough = 0
        self._step_began = 0.0
        self._advised: set[float] = set()
        self._go(steps[0])

    def record(self, *, canary: bool, failed: bool, seconds: float) -> list[Decision]:
        """Count an answer of the canary or of the stable model; what was decided thereupon."""
        if self.state != "running":
            return []
        self.evidence.record(canary=canary, failed=failed, seconds=seconds)
        self._step_answers += canary
        return self._decide()

    def feedback(self, *, canary: bool, right: bool) -> list[Decision]:
        """Count whether an answer was right; what was decided thereupon."""
        if self.state != "running":
            return []
        self.evidence.feedback(canary=canary, right=right)
        return self._decide()

    def replaced(self, *, canary: bool) -> list[Decision]:
        """Begin anew while running: the canary's model, or the stable one, was exchanged for another version."""
        if self.state != "running":
            return []
        decisions = []
        if canary and self.share > self._steps[0]:
            decisions.append(self._change("share_set", self._steps[0], "another version of the canary was loaded"))
        self._go(self.share)
        self.evidence = Evidence(self._rules)
        return decisions

    def promote(self) -> Decision:
        """Give the canary all traffic, by hand."""
        return self._change("promoted", 100.0, "by hand")

    def rollback(self, reason: str) -> Decision:
        """Take all traffic from the canary, by hand."""
        return self._change("rolled_back", 0.0, reason)

    def set_share(self, percent: float) -> Decision:
        """Give the canary a share, by hand; automatic steps go on from there.

        Raises:
            ValueError: It is not a number from 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percent is {percent!r}, allowed 0 to 100")
        return self._change("share_set", float(percent), "by hand")

    def status(self) -> dict[str, Any]:
        """State, step and evidence, for JSON."""
        return {
            "state": self.state,
            "share": self.share,
            "automatic": self._rules.automatic,
            "steps": self._steps,
            "next_share": self._next_share(),
            "answers": self.evidence.answers,
            "step_answers": self._step_answers,
            "step_requests": self._rules.step_requests,
            "step_seconds_left": round(max(0.0, self._step_began + self._rules.step_seconds - self._clock()), 1),
            "waits_because": self.evidence.doubt() if self.state == "running" else None,
            "e_values": {name: float(f"{value:.4g}") for name, value in self.evidence.e_values().items()},
            "e_limits": self.evidence.e_limits,
        }

    def _decide(self) -> list[Decision]:
        """Roll back or go a step further, where a rule says so."""
        found = self.evidence.finding()
        if found is not None:
            return self._do_or_advise("rolled_back", 0.0, found)
        share = self._next_share()
        if share is None or share in self._advised or self._step_answers < self._enough:
            return []
        seconds = self._clock() - self._step_began
        if seconds < self._rules.step_seconds:
            return []
        if self.evidence.doubt() is not None:
            self._enough = self._step_answers + 1 + self._step_answers // 50  # looking takes as long as 10 answers
            return []
        reason = f"{self._step_answers} answers in {seconds:.0f} s at {self.share:g} %, nothing speaks against it"
        kind = "promoted" if share == 100 else "advanced"
        return self._do_or_advise(kind, share, Finding(reason, self._largest_e_value()))

    def _do_or_advise(self, kind: str, share: float, found: Finding) -> list[Decision]:
        if self._rules.automatic:
            return [self._change(kind, share, found.reason, found.e_value)]
        if share in self._advised:
            return []
        self._advised.add(share)
        return [self._decision("advice", share, found.reason, found.e_value)]

    def _change(self, kind: str, share: float, reason: str, e_value: float | None = None) -> Decision:
        """Take a decision and act on it."""
        decision = self._decision(kind, share, reason, self._largest_e_value() if e_value is None else e_value)
        anew = self.state != "running"
        self._go(share)
        if kind == "rolled_back":
            self.state = "rolled_back"
        if anew:
            self.evidence = Evidence(self._rules)
        return decision

    def _decision(self, kind: str, share: float, reason: str, e_value: float) -> Decision:
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        decision = Decision(kind, self.share, share, reason, at, e_value)
        self.decisions.append(decision)
        return decision

    def _go(self, share: float) -> None:
        """Begin a step."""
        self.share = share
        self.state = {0.0: "stopped", 100.0: "promoted"}.get(share, "running")
        self._step_answers = 0
        self._enough = self._rules.step_requests
        self._step_began = self._clock()
        self._advised = set()

    def _next_share(self) -> float | None:
        """The next step; None after the last one, and where no step is being gone."""
        if self.state != "running":
            return None
        return next((step for step in self._steps if step > self.share), None)

    def _largest_e_value(self) -> float:
        return max(self.evidence.e_values().values())
