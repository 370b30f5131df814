"""What a benchmark has found out about model files, and the table, CSV and JSON of it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlstack.config.trainer import LESS_IS_BETTER
from mlstack.reports.tables import Cell, table
from mlstack.reports.text_width import shorten

NAME_WIDTH = 28  # columns of the terminal; the table then has 120 at most
MEASURED, RECORDED = "measured", "recorded"
RECORDED_MARK = "*"


@dataclass(frozen=True)
class Speed:
    """One model file at one batch size and number of threads.

    Attributes:
        batch: Images a call.
        threads: Of the runtime.
        p50, p95, p99: Wall time of a call in milliseconds.
        cpu: Median processor time of a call in milliseconds.
        images_per_second: By wall time.
        memory_mb: Peak of a process that does nothing else, in MiB.
        calls: How many were measured.
    """

    batch: int
    threads: int
    p50: float
    p95: float
    p99: float
    cpu: float
    images_per_second: float
    memory_mb: float
    calls: int


@dataclass(frozen=True)
class MeasuredModel:
    """One model file of a bundle.

    Attributes:
        bundle: What the bundle is called, another name than each other bundle's.
        path: The file.
        precision: `fp32`, `int8`, …
        default: Whether it is the one that the bundle serves.
        bytes: Its size.
        metric: What `score` is: `accuracy`, `f1` or `mae`.
        score: None where nobody knows it.
        origin: `measured` just now, or `recorded` in the bundle.
        images: How many pictures it was measured on; None where it is only recorded.
        data: A fingerprint of those data; bundles of other data can't be compared by their scores.
        speeds: At least one; the first is that of the smallest batch and the first number of threads.
    """

    bundle: str
    path: str
    precision: str
    default: bool
    bytes: int
    metric: str
    score: float | None
    origin: str
    images: int | None
    data: str
    speeds: tuple[Speed, ...]

    @property
    def megabytes(self) -> float:
        """Size in MB of 10⁶ bytes, as file managers and shops count."""
        return self.bytes / 1e6

    @property
    def best_throughput(self) -> float:
        """Images a second, at the batch size and number of threads that give most."""
        return max(speed.images_per_second for speed in self.speeds)


def labels(models: Sequence[MeasuredModel]) -> list[str]:
    """A short name for each model file: without what all share, also without the words that all bundles begin with."""
    bundles = list(dict.fromkeys(model.bundle for model in models))
    precisions = {model.precision for model in models}
    if len(bundles) == 1:
        return [model.precision for model in models]
    start = len(common_start(bundles))
    if len(precisions) == 1:
        return [model.bundle[start:] for model in models]
    return [f"{model.bundle[start:]} · {model.precision}" for model in models]


def common_start(names: Sequence[str]) -> str:
    """The whole words, with their `_`, that several names begin with: `digits_` of digits_a and digits_b_c."""
    shared = 0
    for letters in zip(*names, strict=False):
        if len(set(letters)) > 1:
            break
        shared += 1
    return names[0][: names[0][:shared].rfind("_") + 1]


def shown_score(model: MeasuredModel) -> str:
    """`98.42 %`, of a regression the error itself; with a mark where it was not measured now; – where unknown."""
    if model.score is None:
        return "–"
    text = f"{model.score:.4g}" if model.metric in LESS_IS_BETTER else f"{model.score:.2%}"
    return f"{text}{RECORDED_MARK}" if model.origin == RECORDED else text


def shown_size(size: int) -> str:
    """Bytes as MB of 10⁶: 44.70, of a very small file 0.0014."""
    return f"{size / 1e6:.2f}" if size >= 1e5 else f"{size / 1e6:.2g}"


def benchmark_table(models: Sequence[MeasuredModel]) -> str:
    """A line for each model file, batch size and number of threads; what all lines of a file share stands once."""
    metrics = {model.metric for model in models}
    header = ["model", "precision", metrics.pop() if len(metrics) == 1 else "score", "MB", "batch", "threads",
              "p50 ms", "p95", "p99", "CPU ms", "images/s", "MiB"]  # fmt: skip
    rows: list[list[Cell]] = []
    for model in models:
        name = shorten(model.bundle, NAME_WIDTH)
        first: list[Cell] = [name, model.precision, shown_score(model), shown_size(model.bytes)]
        for speed in model.speeds:
            times = [_milliseconds(value) for value in (speed.p50, speed.p95, speed.p99, speed.cpu)]
            rate = int(speed.images_per_second) if speed.images_per_second >= 100 else speed.images_per_second
            rows.append([*first, speed.batch, speed.threads, *times, rate, round(speed.memory_mb)])
            first = ["", "", "", ""]
    return table(header, rows)


def _milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def as_csv(models: Sequence[MeasuredModel]) -> str:
    """One line a model file, batch size and number of threads, all values in full."""
    text = io.StringIO()
    facts = [field.name for field in dataclasses.fields(MeasuredModel) if field.name != "speeds"]
    speeds = [field.name for field in dataclasses.fields(Speed)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*facts, *speeds])
    for model in models:
        for speed in model.speeds:
            writer.writerow([getattr(model, name) for name in facts] + [getattr(speed, name) for name in speeds])
    return text.getvalue()


def as_json(models: Sequence[MeasuredModel], **context: Any) -> str:
    """All values in full; `context` says of what machine they are, and what else a reader has to know."""
    content = {**context, "models": [dataclasses.asdict(model) for model in models]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
