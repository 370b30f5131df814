"""Drift: whether the newest answers still look like those to the pictures that the model was validated on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.reference import Reference
from mlstack.config.serving import DriftConfig
from mlstack.monitoring.comparison import Comparison, compare
from mlstack.monitoring.watched import Answers, Watched, grid_light
from mlstack.monitoring.windows import EvenSampler, Ring

FEWEST = 50  # answers, before they are compared
FEWEST_REFERENCE = 30  # pictures, below which the reference tells nothing
AT_ONCE = 0.1  # of alpha: evidence that needs no further comparison to be confirmed
LASTING = 0.2  # of a window: new answers over which each comparison finds drift; nearer ones see the same answers


@dataclass(frozen=True)
class DriftReport:
    """The newest comparison, and what follows from it and those before.

    Attributes:
        drifting: There is drift: this comparison found some, or one of those since a whole window of new answers.
        confirmed: While it lasts, all comparisons over a fifth of the window found it, or one with ten times the
            evidence that alpha asks for. That is some 50 answers later for a doubled class, and with 1.5 false alarms
            in 100,000 answers where `drifting` had 5 (benchmarks/serving/drift.py).
        suspected: This comparison alone finds drift.
        changed: `drifting` is another than in the report before.
        since: When it began, ISO 8601; None without drift.
        window: Answers that were compared.
        reference: Pictures that they were compared with.
        looked_at: Answers since the start that were looked at, those that have left the window too.
        comparison: Its tests; None while there was nothing to compare.
        at: When, ISO 8601.
        note: Why there is no comparison, otherwise empty.
    """

    drifting: bool
    confirmed: bool
    suspected: bool
    changed: bool
    since: str | None
    window: int
    reference: int
    looked_at: int
    comparison: Comparison | None
    at: str
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """All of it in terms of JSON; `tests`, `p_value` and `psi` are the comparison's."""
        plain = {name: value for name, value in vars(self).items() if name != "comparison"}
        found = self.comparison.as_dict() if self.comparison else {"tests": [], "p_value": None, "psi": {}}
        return plain | found


class DriftMonitor:
    """Looks at answers as they go by and compares the newest ones with the bundle's reference.

    `observe` costs microseconds and may be called anywhere; `check` costs milliseconds and belongs into a thread.

    Args:
        reference: Of the bundle.
        metadata: Of the same bundle.
        settings: Size of the window, how often it is compared, the error it may make, how many pictures are looked at.
        clock: Seconds that never run backwards.

    Attributes:
        report: The newest one; None before the first comparison.
    """

    def __init__(
        self,
        reference: Reference,
        metadata: Metadata,
        settings: DriftConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._watched = Watched(reference, metadata)
        known = self._watched.reference
        self._numbers = Ring(settings.window, known.numbers.shape[1], np.float32)
        self._classes = Ring(settings.window, known.classes.shape[1], known.classes.dtype.type)
        self._sampler = EvenSampler(settings.images_per_s, clock=clock)
        self._lock = threading.Lock()  # of the rings
        self._checking = threading.Lock()  # of what follows from one comparison to the next
        self._looked_at = self._checked_at = 0
        self._found_at = 0
        self._finding_since: int | None = None  # of `looked_at`; None = the newest comparison found nothing
        self._since, self._confirmed = "", False
        self._enough = len(known.numbers) >= FEWEST_REFERENCE
        self.report: DriftReport | None = None
        if not self._enough:
            self.report = self._report(None, note=f"the bundle's reference holds {len(known.numbers)} pictures, "
                                       f"{FEWEST_REFERENCE} are needed")  # fmt: skip

    def observe(self, images: NDArray[np.uint8], output: NDArray[np.float32], features: NDArray[np.float32]) -> None:
        """Take note of answers, or of an even sample of them where there are more than `images_per_s`.

        Args:
            images: uint8 [n, height, width, channel].
            output: float32 [n, answer].
            features: float32 [n, feature].
        """
        if not self._enough:
            return
        with self._lock:
            places = self._sampler.take(len(output))
        if not places:
            return
        if len(places) < len(output):
            images, output, features = images[places], output[places], features[places]
        rows = self._watched.rows(*grid_light(images), output, features)
        with self._lock:
            self._numbers.push(rows.numbers)
            self._classes.push(rows.classes)
            self._looked_at += len(places)

    def due(self) -> bool:
        """Enough new answers for another comparison."""
        return self._looked_at - self._checked_at >= self._settings.every and self._looked_at >= FEWEST

    def check(self) -> DriftReport:
        """Compare the newest answers with the reference. Takes some milliseconds; safe beside `observe`."""
        with self._checking:
            with self._lock:
                numbers, classes = self._numbers.copy(), self._classes.copy()
                self._checked_at = looked_at = self._looked_at
            if len(numbers) < FEWEST:
                note = f"{len(numbers)} answers so far, {FEWEST} are needed" if self._enough else ""
                self.report = self._report(None, note=note or (self.report.note if self.report else ""))
                return self.report
            window = Answers(self._watched.rounded(numbers), classes)
            self.report = self._judge(compare(self._watched, window, alpha=self._settings.alpha), looked_at)
            return self.report

    def _judge(self, comparison: Comparison, looked_at: int) -> DriftReport:
        """One comparison in the light of those before."""
        alpha, before = self._settings.alpha, bool(self._since)
        suspected = comparison.p_value <= alpha
        if suspected:
            self._since = self._since or _now()
            self._found_at = looked_at
            if self._finding_since is None:
                self._finding_since = looked_at
            lasting = looked_at - self._finding_since >= LASTING * self._settings.window
            self._confirmed |= comparison.p_value <= AT_ONCE * alpha or lasting
        else:
            self._finding_since = None
            if before and looked_at - self._found_at >= self._settings.window:
                self._since, self._confirmed = "", False
        return self._report(comparison, suspected=suspected, changed=bool(self._since) != before)

    def _report(
        self, comparison: Comparison | None, *, suspected: bool = False, changed: bool = False, note: str = ""
    ) -> DriftReport:
        return DriftReport(
            drifting=bool(self._since),
            confirmed=self._confirmed,
            suspected=suspected,
            changed=changed,
            since=self._since or None,
            window=self._numbers.filled,
            reference=len(self._watched.reference.numbers),
            looked_at=self._looked_at,
            comparison=comparison,
            at=_now(),
            note=note,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
