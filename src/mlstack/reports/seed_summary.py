"""Several runs side by side: in what they differ, and mean and deviation over those that differ in the seed alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstack.config.trainer import METRICS
from mlstack.reports.tables import Cell, table
from mlstack.reports.text_width import shorten

SPEED = ("cpu_seconds", "images_per_second")
SIZE = "parameters"
# What changes neither the network nor how it learns.
WITHOUT_EFFECT = ("output_dir", "resume", "tracker", "trainer.progress_bar")
# What follows from data.name, and would only say once more that the data differ.
DERIVED = ("classes", "mean", "std", "target_mean", "target_std", "image_size", "decoded_size", "channels")
MOST_SETTINGS = 6  # columns of a printed table
SETTING_WIDTH = 24  # columns of the terminal
RUN_WIDTH = 52


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes:
        path: Its folder.
        settings: All settings, by dotted name.
        metrics: For each split that was measured (`val`, `test`), its metrics; None where one is not defined.
        speed: `cpu_seconds` and `images_per_second`, of training; None where the run has not noted it. And `parameters`
            where it has.
    """

    path: Path
    settings: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, float | None]]
    speed: Mapping[str, float | None]

    @property
    def name(self) -> str:
        return f"{self.path.absolute().parent.name}/{self.path.absolute().name}"

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])

    def numbers(self, split: str) -> dict[str, float | None]:
        """The metrics of a split, then the speed."""
        return {**self.metrics.get(split, {}), **self.speed}


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in the seed alone, one a seed, in the order of the seeds.

    Attributes:
        settings: What tells this group from the others, by dotted name.
        runs: At least one.
    """

    settings: Mapping[str, Any]
    runs: tuple[ComparedRun, ...]

    def values(self, name: str, split: str) -> list[float]:
        """One number of each run that has it."""
        found = (run.numbers(split).get(name) for run in self.runs)
        return [value for value in found if value is not None]

    def mean(self, name: str, split: str) -> float | None:
        values = self.values(name, split)
        return statistics.fmean(values) if values else None

    def deviation(self, name: str, split: str) -> float | None:
        """Sample standard deviation (over n - 1); None for fewer than two runs."""
        values = self.values(name, split)
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def label(self) -> str:
        """`optimizer=muon, learning_rate=0.1 (3 seeds)`; without a difference, what was trained on what."""
        names = _headings(list(self.settings))
        words = [f"{name}={as_text(value)}" for name, value in zip(names, self.settings.values(), strict=True)]
        text = ", ".join(words) or self.runs[0].path.absolute().parent.name
        return f"{text} ({len(self.runs)} seeds)" if len(self.runs) > 1 else text


def differing(runs: Sequence[ComparedRun]) -> list[str]:
    """Names of the settings that are not the same in all runs, in the schema's order, the seed last."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings if not name.startswith(WITHOUT_EFFECT)))
    found = [name for name in names if len({_key(run.settings.get(name)) for run in runs}) > 1]
    if "data.name" in found:
        found = [name for name in found if name.removeprefix("data.") not in DERIVED]
    return sorted(found, key=lambda name: name == "seed")


def group_by_seed(runs: Sequence[ComparedRun]) -> list[SeedGroup]:
    """Put runs that differ in the seed alone together; of two that are alike in the seed, too, the newer one counts."""
    names = [name for name in differing(runs) if name != "seed"]
    groups: dict[str, dict[int, ComparedRun]] = {}
    for run in sorted(runs, key=lambda run: run.path.name):  # which begins with the time
        groups.setdefault(_key([run.settings.get(name) for name in names]), {})[run.seed] = run
    return [
        SeedGroup({name: by_seed[min(by_seed)].settings.get(name) for name in names},
                  tuple(by_seed[seed] for seed in sorted(by_seed)))
        for by_seed in groups.values()
    ]  # fmt: skip


def common_split(runs: Sequence[ComparedRun]) -> str:
    """`test` where all runs have measured it, else `val`."""
    return "test" if all("test" in run.metrics for run in runs) else "val"


def main_numbers(runs: Sequence[ComparedRun]) -> list[str]:
    """What a printed table shows: the loss, the task's main metric, the monitored one, sizes that differ, the speed."""
    names = [name for run in runs for name in METRICS[run.settings["data.task"]][:2]]
    names += [str(run.settings["trainer.monitor"]).removeprefix("val_") for run in runs]
    sizes = [SIZE] if len({run.speed.get(SIZE) for run in runs}) > 1 else []
    return [*dict.fromkeys(names), *sizes, *SPEED]


def runs_table(runs: Sequence[ComparedRun]) -> str:
    """One run a line: the settings that differ, then what it reached."""
    split, settings, numbers = common_split(runs), differing(runs), main_numbers(runs)
    shown = settings if len(settings) <= MOST_SETTINGS else [*settings[: MOST_SETTINGS - 1], settings[-1]]
    one_family = len({run.path.absolute().parent for run in runs}) == 1
    names = [shorten(run.path.name if one_family else run.name, RUN_WIDTH) for run in runs]
    rows = [
        [name, *(_cell(run.settings.get(key)) for key in shown),
         *(with_deviation(run.numbers(split).get(number), None) for number in numbers)]
        for name, run in zip(names, runs, strict=True)
    ]  # fmt: skip
    text = table(["run", *_headings(shown), *_titles(numbers, split)], rows)
    hidden = [name for name in settings if name not in shown]
    return f"{text}\nalso different: {shorten(', '.join(hidden), 100)}" if hidden else text


def seeds_table(groups: Sequence[SeedGroup]) -> str:
    """One group a line: mean ± deviation over its seeds."""
    runs = [run for group in groups for run in group.runs]
    split, numbers = common_split(runs), main_numbers(runs)
    names = list(groups[0].settings)[:MOST_SETTINGS]
    rows = [
        [*(_cell(group.settings[name]) for name in names), len(group.runs),
         *(with_deviation(group.mean(name, split), group.deviation(name, split)) for name in numbers)]
        for group in groups
    ]  # fmt: skip
    return table([*_headings(names), "seeds", *_titles(numbers, split)], rows)


def with_deviation(mean: float | None, deviation: float | None) -> str:
    """`0.9720 ± 0.0031`, `1234 ± 56`; a mean alone where there is no deviation, – where there is no mean."""
    if mean is None:
        return "–"
    decimals = next((digits for limit, digits in ((1000, 0), (100, 1), (10, 2)) if abs(mean) >= limit), 4)
    text = f"{mean:.{decimals}f}"
    return text if deviation is None else f"{text} ± {deviation:.{decimals}f}"


def as_text(value: object) -> str:
    """A setting as one would type it, short enough for a table or a legend."""
    words = {None: "null", True: "true", False: "false"}
    return shorten(words[value] if value is None or isinstance(value, bool) else str(value), SETTING_WIDTH)


def _cell(value: object) -> Cell:
    return as_text(value)


def _headings(names: Sequence[str]) -> list[str]:
    """The last parts of dotted names; whole ones where two end alike."""
    ends = [name.rpartition(".")[2] for name in names]
    return [end if ends.count(end) == 1 else name for name, end in zip(names, ends, strict=True)]


def _titles(numbers: Sequence[str], split: str) -> list[str]:
    names = {"cpu_seconds": "CPU seconds", "images_per_second": "images/s", SIZE: SIZE}
    return [names.get(name, f"{split} {name.replace('_', ' ')}") for name in numbers]


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
