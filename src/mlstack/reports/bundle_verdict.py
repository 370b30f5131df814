"""Whether a bundle keeps what is asked of it, by the model file that it serves, and which bundle is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlstack.config.trainer import LESS_IS_BETTER
from mlstack.reports.bundle_rows import MeasuredModel, shown_score, shown_size


@dataclass(frozen=True)
class Limits:
    """What is asked of a bundle; None = nothing.

    Attributes:
        max_latency_ms: p95 of a call with one picture, at the first number of threads.
        min_images_per_s: At the batch size and number of threads that give most.
        min_accuracy: Of the task's first metric, 0 to 1.
        max_memory_mb: Peak of a process that does nothing else, at every batch size that was measured, in MiB.
    """

    max_latency_ms: float | None = None
    min_images_per_s: float | None = None
    min_accuracy: float | None = None
    max_memory_mb: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What came out for one bundle.

    Attributes:
        model: The model file that it serves.
        kept: Whether all limits were kept.
        lines: One for each limit, with the measured value.
    """

    model: MeasuredModel
    kept: bool
    lines: list[str]


def judge(model: MeasuredModel, limits: Limits) -> Verdict:
    """Hold a measured model file against the limits."""
    first = model.speeds[0]
    best = max(model.speeds, key=lambda speed: speed.images_per_second)
    largest = max(model.speeds, key=lambda speed: speed.memory_mb)
    at = f"batch {first.batch}, {_threads(first.threads)}"
    checks = [
        ("max_latency_ms", limits.max_latency_ms, first.p95, f"p95 {first.p95:.2f} ms at {at}", True),
        ("min_images_per_s", limits.min_images_per_s, best.images_per_second,
         f"{best.images_per_second:,.1f} images/s at batch {best.batch}, {_threads(best.threads)}", False),
        ("min_accuracy", limits.min_accuracy, model.score, f"{model.metric} {shown_score(model)}", False),
        ("max_memory_mb", limits.max_memory_mb, largest.memory_mb,
         f"{largest.memory_mb:.0f} MiB at batch {largest.batch}, {_threads(largest.threads)}", True),
    ]  # fmt: skip
    lines, kept = [], True
    for key, limit, value, words, is_upper in checks:
        if limit is None:
            continue
        good = value is not None and (value <= limit if is_upper else value >= limit)
        kept = kept and good
        lines.append(
            f"{'kept  ' if good else 'MISSED'}  {key}={limit:g}: {model.bundle} ({model.precision}) has {words}"
        )
    return Verdict(model, kept, lines)


def rank(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each bundle, best first: those that keep the limits, then by score, then by p95 of one picture."""
    lines = []
    for place, verdict in enumerate(sorted(verdicts, key=_worth), start=1):
        model, first = verdict.model, verdict.model.speeds[0]
        facts = [
            f"{model.metric} {shown_score(model)}",
            f"p95 {first.p95:.2f} ms",
            f"{model.best_throughput:,.0f} images/s",
            f"{shown_size(model.bytes)} MB",
        ]
        missed = "" if verdict.kept else "  (limits missed)"
        lines.append(f"{place}. {model.bundle} ({model.precision}): {', '.join(facts)}{missed}")
    return lines


def _worth(verdict: Verdict) -> tuple[bool, float, float]:
    """Small is good."""
    model = verdict.model
    score = float("-inf") if model.score is None else model.score
    badness = score if model.metric in LESS_IS_BETTER and model.score is not None else -score
    return not verdict.kept, badness, model.speeds[0].p95


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
