"""recipe=fashion_mnist_fast against recipe=fashion_mnist_plain: `python benchmarks/time_to_accuracy.py`, 17 minutes.

Both train through our engine on the real Fashion-MNIST, on one thread, in turns, with `--seeds 5` seeds each. What
counts are CPU seconds of `fit`: building the network, whitening, training, validation after each epoch, checkpoints;
not imports and not reading the data. The checkpoint of each epoch is put to the test split afterwards, off the clock,
so the test split decides nothing. Expect 90 % in 0.4 of the plain recipe's time, after the first epoch, and the whole
fast recipe at 93 % in 100 s. Writes outputs/time_to_accuracy.png.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from mlstack.commands.train import complete
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.base import RunResult
from mlstack.engines.lightning.engine import LightningEngine
from mlstack.reports.saving import save_png
from mlstack.reports.style import BLUE, ORANGE, dress, new_figure, set_title
from mlstack.runs import RunFolder, create_run

PLAIN, FAST = "plain", "fast"
RUNS = {
    PLAIN: ("recipe=fashion_mnist_plain",),
    FAST: ("recipe=fashion_mnist_fast",),
}
QUIET = ("trainer.accelerator=cpu", "trainer.progress_bar=false", "tracker=none")
TARGET = 0.9  # accuracy on test
BAR = 0.5  # share of the plain recipe's seconds to TARGET
FINAL_ACCURACY, FINAL_SECONDS = 0.925, 120  # of the fast recipe, in all
FIGURE = Path("outputs/time_to_accuracy.png")


@dataclass(frozen=True)
class Curve:
    """One run.

    Attributes:
        seconds: CPU seconds since the run began, at the end of each epoch's validation.
        accuracy: On test, of each epoch's checkpoint.
        chosen: The epoch, from 0, whose checkpoint was the best on val.
        total: CPU seconds of the whole run.
    """

    seconds: list[float]
    accuracy: list[float]
    chosen: int
    total: float

    @property
    def to_target(self) -> float:
        """CPU seconds at the first epoch whose checkpoint reaches TARGET; infinity where none does."""
        pairs = zip(self.seconds, self.accuracy, strict=True)
        return next((seconds for seconds, accuracy in pairs if accuracy >= TARGET), math.inf)


def main() -> None:
    """Train all in turns; print a table, a verdict on each bar, and where the figure is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    dataset = load_dataset(compose(Config, ["data=fashion_mnist"]).data)
    curves: dict[str, list[Curve]] = {name: [] for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        fit(dataset, folder, "trainer.fast_dev_run=true", *RUNS[FAST])  # what a first run imports isn't timed
        for seed in seeds:
            for name, overrides in RUNS.items():
                curves[name].append(curve_of(dataset, folder, f"seed={seed}", *overrides))
                print(f"{name}, seed {seed}: {in_words(curves[name][-1])}", flush=True)
    print_summary(curves)
    print(f"written: {draw(curves)}")


def fit(dataset: Dataset, folder: str, *overrides: str) -> tuple[Config, LightningEngine, RunFolder, RunResult]:
    """Train once, in silence."""
    config = complete(compose(Config, [*QUIET, f"output_dir={folder}", *overrides]), dataset)
    config = replace(config, trainer=replace(config.trainer, save_top_k=config.trainer.max_epochs))  # keep them all
    run, engine = create_run(config), LightningEngine()
    with contextlib.redirect_stdout(io.StringIO()):
        result = engine.fit(config, dataset, run)
    return config, engine, run, result


def curve_of(dataset: Dataset, folder: str, *overrides: str) -> Curve:
    """Train once, then put each epoch's checkpoint to the test."""
    began = time.process_time()
    config, engine, run, result = fit(dataset, folder, *overrides)
    total = time.process_time() - began
    before = total - result.cpu_seconds  # mostly of composing settings and building, which metrics.csv does not count
    with run.metrics_path.open(encoding="utf-8") as file:
        seconds = [before + float(row["cpu_seconds"]) for row in csv.DictReader(file) if row["val_accuracy"]]
    test = BatchLoader(dataset.splits["test"], batch_size=500, image_size=dataset.image_size)
    accuracy = []
    for epoch in range(len(seconds)):
        answers = engine.predict(config, test, run=run, checkpoint=f"epoch_{epoch}")
        accuracy.append(float(np.mean(answers.outputs.argmax(axis=1) == answers.labels)))
    assert result.best_epoch is not None
    return Curve(seconds, accuracy, result.best_epoch, total)


def in_words(curve: Curve) -> str:
    """Each epoch's point, for who waits."""
    points = (
        f"{seconds:.1f} s {accuracy:.4f}" for seconds, accuracy in zip(curve.seconds, curve.accuracy, strict=True)
    )
    return ", ".join(points) + f"; best on val: epoch {curve.chosen + 1}; {curve.total:.1f} s in all"


def print_summary(curves: Mapping[str, Sequence[Curve]]) -> None:
    """Mean ± deviation over the seeds of each figure, and whether the bars are reached."""
    print(f"\n{'':<22}{f'CPU seconds to {TARGET:.0%}':>22}{'test accuracy':>20}{'CPU seconds in all':>22}")
    for name, found in curves.items():
        columns = [
            (f"{spread([curve.to_target for curve in found], 1)}", 22),
            (f"{spread([curve.accuracy[curve.chosen] for curve in found], 4)}", 20),
            (f"{spread([curve.total for curve in found], 1)}", 22),
        ]
        print(f"{name:<22}" + "".join(f"{text:>{width}}" for text, width in columns))
    plain, fast = curves[PLAIN], curves[FAST]
    print()
    ratio = mean(curve.to_target for curve in fast) / mean(curve.to_target for curve in plain)
    print(f"fast: {TARGET:.0%} in {ratio:.2f} × the plain recipe's time, at most {BAR:g}: {verdict(ratio <= BAR)}")
    accuracy = mean(curve.accuracy[curve.chosen] for curve in fast)
    slowest = max(curve.total for curve in fast)
    print(f"fast on test: {accuracy:.4f}, at least {FINAL_ACCURACY}: {verdict(accuracy >= FINAL_ACCURACY)}")
    print(f"slowest fast run: {slowest:.0f} s, at most {FINAL_SECONDS}: {verdict(slowest <= FINAL_SECONDS)}")


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± deviation; says so where a run never got there."""
    missed = sum(math.isinf(value) for value in values)
    if missed:
        return f"{missed} of {len(values)} never"
    return f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"


def verdict(reached: bool) -> str:
    return "ok" if reached else "short"


def draw(curves: Mapping[str, Sequence[Curve]]) -> Path:
    """Accuracy on test against CPU seconds, a line a run."""
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    looks = ((ORANGE, "s"), (BLUE, "o"))
    for (name, found), (colour, marker) in zip(curves.items(), looks, strict=True):
        for number, curve in enumerate(found):
            label = name if number == 0 else None
            axes.plot(
                curve.seconds, curve.accuracy, color=colour, marker=marker, markersize=3.5, alpha=0.8, label=label
            )
    axes.axhline(TARGET, color="black", linestyle=":", linewidth=1)
    axes.set_xlim(left=0)
    dress(axes, x="CPU seconds on one thread", y="accuracy on test", grid="y")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    set_title(figure, "Fashion-MNIST: accuracy against time", "one line a seed, one point an epoch")
    return save_png(figure, FIGURE)


if __name__ == "__main__":
    main()
