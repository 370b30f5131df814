"""Finished runs side by side: a table, mean and deviation over seeds, and a figure over CPU seconds."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlstack.config.commands import CompareRunsConfig
from mlstack.config.flat_settings import flat_settings
from mlstack.errors import ConfigError, MLStackError, RunError
from mlstack.reports.guarded import draw_each
from mlstack.reports.run_comparison import draw_comparison
from mlstack.reports.seed_summary import (
    SIZE,
    SPEED,
    ComparedRun,
    SeedGroup,
    common_split,
    differing,
    group_by_seed,
    runs_table,
    seeds_table,
)
from mlstack.runs import RunFolder, find_run, write_text
from mlstack.utils.console import say


def compare_runs(config: CompareRunsConfig) -> None:
    """Compare finished runs; print tables, write the figure and, where asked for, the tables as files.

    Raises:
        ConfigError: A file name has another ending than its kind of file.
        RunError: No such run, or one that has not finished.
        OutputError: A file can't be written.
    """
    for key, path, suffix in (("output", config.output, ".png"), ("csv", config.csv, ".csv"),
                              ("json", config.json, ".json")):  # fmt: skip
        if path is not None and Path(path).suffix.lower() != suffix:
            raise ConfigError(f"{key}={path} is not a {suffix}", key=key, hint=f"such as {key}=comparison{suffix}")
    runs = [read_run(run) for run in find_runs(config.runs, output_dir=config.output_dir)]
    groups = group_by_seed(runs)
    _say_tables(runs, groups)
    written = []
    for name, text in ((config.csv, as_csv(runs)), (config.json, as_json(runs, groups))):
        if name is not None:
            written.append(Path(name).expanduser())
            write_text(written[-1], text)
    written.insert(0, draw_comparison(groups, Path(config.output).expanduser()))  # last: no table is lost by it
    say("\n" + "\n".join(f"written: {path}" for path in written))


def compare_sweep(folders: Sequence[str], output: str) -> None:
    """What a sweep shows at its end: the same tables and figure, of those of its runs that have finished.

    Args:
        folders: The run folders that its jobs have made.
        output: The folder for comparison.png and summary.json; made when there are two finished runs or more.
    """
    try:
        runs = [read_run(run) for run in map(RunFolder, map(Path, folders)) if is_finished(run)]
        if len(runs) < 2:
            return
        groups = group_by_seed(runs)
        _say_tables(runs, groups)
        summary, figure = Path(output) / "summary.json", Path(output) / "comparison.png"
        write_text(summary, as_json(runs, groups))
        written = [*draw_each([(figure.name, partial(draw_comparison, groups, figure))]), summary]
        say("\n" + "\n".join(f"written: {path}" for path in written))
    except MLStackError as error:  # the jobs themselves have ended well
        say(f"warning: the runs can't be compared: {error}")


def find_runs(words: Sequence[str], *, output_dir: str) -> list[RunFolder]:
    """The run folders that `runs=` names, each once, sorted by path.

    Args:
        words: Run folders, `latest`, folders with finished runs somewhere below, or patterns; none = `output_dir`.
        output_dir: Where to look when there are no words.

    Raises:
        RunError: A word that names no finished run.
    """
    found = {}
    for word in words or [output_dir]:
        runs = list(_named(word, output_dir))
        if not runs:
            raise RunError(
                f"{f'runs={word}' if words else f'output_dir={word}'}: no finished run there",
                hint="name run folders, a folder of runs, or a pattern: 'runs=[outputs/*_resnet18_*/*]'",
            )
        found.update({run.path.resolve(): run for run in runs if run.path.resolve() not in found})
    return sorted(found.values())


def _named(word: str, output_dir: str) -> Iterator[RunFolder]:
    path = Path(word).expanduser()
    if word == "latest":
        yield find_run(word, output_dir=output_dir)
    elif (path / "config.yaml").is_file():
        run = RunFolder(path)
        if not is_finished(run):
            raise RunError(f"{path} has not finished", hint=f"go on with it: python scripts/train.py resume={path}")
        yield run
    else:
        for place in [path] if path.exists() else map(Path, sorted(glob.glob(str(path)))):  # noqa: PTH207
            if place.is_symlink():  # outputs/latest, which a pattern finds beside what it points to
                place = place.parent / place.readlink()
            folders = (results.parent for results in sorted(place.rglob("results.json")))
            yield from (run for run in map(RunFolder, folders) if is_finished(run))


def is_finished(run: RunFolder) -> bool:
    """Whether a folder holds a run that got to its end, as far as can be read."""
    try:
        return run.config_path.is_file() and run.read_results().get("status") == "finished"
    except RunError:
        return False


def read_run(run: RunFolder) -> ComparedRun:
    """A finished run for the tables.

    Raises:
        RunError: It can't be read.
    """
    results = run.read_results()
    speed = {name: results.get(name) for name in (*SPEED, SIZE) if name in (*SPEED, *results)}
    return ComparedRun(run.path, flat_settings(run.read_config()), results.get("metrics", {}), speed)


def _say_tables(runs: Sequence[ComparedRun], groups: Sequence[SeedGroup]) -> None:
    say(f"\n{runs_table(runs)}")
    repeated = len(runs) - sum(len(group.runs) for group in groups)
    if any(len(group.runs) > 1 for group in groups):
        note = f"; {repeated} older of equal runs not counted" if repeated else ""
        say(f"\nmean ± sample standard deviation over the seeds{note}\n\n{seeds_table(groups)}")


def as_csv(runs: Sequence[ComparedRun]) -> str:
    """One run a line: folder, the settings that differ, all metrics, speed."""
    split, names = common_split(runs), differing(runs)
    numbers = list(dict.fromkeys(name for run in runs for name in run.numbers(split)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *names, *(name if name in (*SPEED, SIZE) else f"{split}_{name}" for name in numbers)])
    for run in runs:
        values = run.numbers(split)
        writer.writerow([run.path, *(run.settings.get(name) for name in names), *(values.get(one) for one in numbers)])
    return text.getvalue()


def as_json(runs: Sequence[ComparedRun], groups: Sequence[SeedGroup]) -> str:
    """All runs with the settings that differ, and the groups over seeds with mean and deviation of every number."""
    split, names = common_split(runs), differing(runs)
    content = {
        "split": split,
        "runs": [
            {
                "run": str(run.path),
                "settings": {name: run.settings.get(name) for name in names},
                "metrics": dict(run.metrics.get(split, {})),
                **run.speed,
            }
            for run in runs
        ],
        "groups": [_group_as_json(group, split) for group in groups],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _group_as_json(group: SeedGroup, split: str) -> dict[str, Any]:
    names = list(group.runs[0].numbers(split))
    return {
        "settings": dict(group.settings),
        "seeds": [run.seed for run in group.runs],
        "mean": {name: group.mean(name, split) for name in names},
        "deviation": {name: group.deviation(name, split) for name in names},
    }
