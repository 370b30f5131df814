"""Bundles side by side: one table and one figure of accuracy, size, latency, throughput and memory, and a verdict."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlstack.bundle.files import METADATA
from mlstack.bundle.folder import Bundle, find_bundle, read_bundle
from mlstack.commands.predict import check_writable
from mlstack.config.export import BenchmarkConfig
from mlstack.errors import ConfigError
from mlstack.export.benchmark import Scored, names_of, rows_of, score_bundle, speed_bundles
from mlstack.reports.bundle_comparison import draw_bundle_comparison
from mlstack.reports.bundle_rows import RECORDED, MeasuredModel, as_csv, as_json, benchmark_table
from mlstack.reports.bundle_verdict import Limits, Verdict, judge, rank
from mlstack.reports.guarded import draw_each
from mlstack.runs import write_text
from mlstack.utils.console import say
from mlstack.utils.hardware import cpu_name, usable_cores


def benchmark(config: BenchmarkConfig) -> None:
    """Measure every model file of some bundles; with limits, end with status 0 where all are kept, else 1.

    Raises:
        BundleError: A bundle that is not there, or damaged.
        ConfigError: A limit that can't be meant, or bundles that can't be compared.
        OutputError: The figure or a table can't be written.
    """
    output = Path(config.output).expanduser()
    if output.suffix.lower() != ".png":
        raise ConfigError(f"output={config.output} is not a .png", key="output", hint="such as output=benchmark.png")
    check_writable(output)
    bundles = find_bundles(config.bundle, output_dir=config.output_dir)
    _check_tasks(bundles, config)
    models, remarks = _measure(bundles, config)
    say(f"\n{benchmark_table(models)}\n\n" + "\n".join(_notes(models, remarks)))
    limits = Limits(config.max_latency_ms, config.min_images_per_s, config.min_accuracy, config.max_memory_mb)
    verdicts = [judge(model, limits) for model in models if model.default]
    _say_verdicts(verdicts)
    for path in _write(output, models, remarks, verdicts, config):
        say(f"written: {path}")
    if not all(verdict.kept for verdict in verdicts):
        sys.exit(1)


def find_bundles(words: Sequence[str], *, output_dir: str) -> list[Bundle]:
    """The bundles that `bundle=` names, whole and each once: folders, run folders, `latest`, patterns.

    Raises:
        BundleError: A word that names none, or one that is damaged.
    """
    found: dict[Path, Bundle] = {}
    for word in words:
        for path in _named(word, output_dir):
            if path.resolve() not in found:
                found[path.resolve()] = read_bundle(path)
    return list(found.values())


def _named(word: str, output_dir: str) -> list[Path]:
    """The bundles that a word names; a pattern may find other things beside them."""
    if glob.has_magic(word) and not Path(word).expanduser().exists():
        matches = [Path(one) for one in sorted(glob.glob(str(Path(word).expanduser())))]  # noqa: PTH207
        bundles = [path for match in matches for path in (match, match / "bundle") if (path / METADATA).is_file()]
        if bundles:
            return bundles
    return [find_bundle(word, output_dir=output_dir)]


def _check_tasks(bundles: Sequence[Bundle], config: BenchmarkConfig) -> None:
    if not bundles:
        raise ConfigError("bundle= names no bundle", key="bundle", hint="such as 'bundle=[latest,outputs/a/b]'")
    first = bundles[0]
    for other in bundles[1:]:
        if other.metadata.task != first.metadata.task:
            raise ConfigError(
                f"{first.path} is a {first.metadata.task} and {other.path} a {other.metadata.task}",
                key="bundle",
                hint="what they answer can't be compared: measure them one by one",
            )
    if first.metadata.task == "regression" and config.min_accuracy is not None:
        raise ConfigError(
            f"min_accuracy={config.min_accuracy:g}: {first.path} is a regression, which has no accuracy",
            key="min_accuracy",
            hint="leave min_accuracy away; the table shows the mean absolute error",
        )


def _measure(bundles: Sequence[Bundle], config: BenchmarkConfig) -> tuple[list[MeasuredModel], list[str]]:
    names = names_of(bundles)
    scores: list[list[Scored]] = []
    remarks = []
    for bundle, name in zip(bundles, names, strict=True):
        found, remark = score_bundle(bundle, split=config.split, limit=config.max_images, threads=max(config.threads))
        scores.append(found)
        remarks += [f"{name}: {remark}"] if remark else []
    speeds = speed_bundles(
        bundles,
        batch_sizes=config.batch_sizes,
        threads=config.threads,
        seconds=config.seconds,
        progress=say,
    )
    rows = [rows_of(*one) for one in zip(bundles, names, scores, speeds, strict=True)]
    return [model for of_bundle in rows for model in of_bundle], remarks


def _notes(models: Sequence[MeasuredModel], remarks: Sequence[str]) -> list[str]:
    counts = sorted({model.images for model in models if model.images is not None})
    notes = [f"measured on {machine()}; ms: wall time of a call; MiB: peak of a process that does nothing else"]
    if counts:
        notes.append(f"{models[0].metric} measured on {' or '.join(f'{count:,}' for count in counts)} pictures")
    if any(model.origin == RECORDED and model.score is not None for model in models):
        notes.append("*: recorded in the bundle")
    if len({model.data for model in models if model.data}) > 1:
        notes.append(f"the bundles were trained on different data: don't compare their {models[0].metric}")
    return [*notes, *(f"note: {remark}" for remark in remarks)]


def machine() -> str:
    """What the figures were measured on: processor, cores that may be used, and the runtime."""
    cores = usable_cores()
    return f"{cpu_name()}, {cores} core{'s' if cores > 1 else ''}, ONNX Runtime {version('onnxruntime')}"


def _say_verdicts(verdicts: Sequence[Verdict]) -> None:
    lines = [line for verdict in verdicts for line in verdict.lines]
    if lines:
        say("\n" + "\n".join(lines))
    if len(verdicts) > 1:
        say("\nbest first, each bundle by the model file that it serves:\n" + "\n".join(rank(verdicts)))
    say()


def _write(
    output: Path,
    models: Sequence[MeasuredModel],
    remarks: Sequence[str],
    verdicts: Sequence[Verdict],
    config: BenchmarkConfig,
) -> list[Path]:
    bundles = list(dict.fromkeys(model.bundle for model in models))
    title = bundles[0] if len(bundles) == 1 else f"{len(bundles)} bundles compared"
    counts = {model.images for model in models}
    note = machine() + (f"    {models[0].metric} on {counts.pop():,} pictures" if counts - {None} else "")
    table, data = output.with_suffix(".csv"), output.with_suffix(".json")
    context: dict[str, Any] = {
        "machine": machine(),
        "split": config.split,
        "seconds": config.seconds,
        "remarks": list(remarks),
        "verdict": {verdict.model.bundle: {"kept": verdict.kept, "lines": verdict.lines} for verdict in verdicts},
    }
    write_text(table, as_csv(models))
    write_text(data, as_json(models, **context))
    draw = partial(draw_bundle_comparison, models, output, title=title, note=note)
    return [*draw_each([(output.name, draw)]), table, data]
