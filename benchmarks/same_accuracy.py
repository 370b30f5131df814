"""Both engines from the same settings: `OMP_NUM_THREADS=1 python benchmarks/same_accuracy.py`, 9 minutes.

The real Fashion-MNIST, all of it, three epochs of a ResNet of eight layers (`_small_resnet_lightning.py` and
`_small_resnet_paddle.py`: the same network with the same law for its start), crop and flip, AdamW, warm-up and cosine,
three seeds. Each of the six runs is the command that a user types, one after the other, engines in turns; the words are
the same but for `trainer.engine` and the network's file, which is checked in what the runs have written. A seed draws
the same splits, batches and crops for both engines, and other weights. Prints the accuracy on test, its means and their
difference. Writes outputs/same_accuracy.png.

Expect 86.7 % from both: 86.74 ± 0.07 with Lightning in 55 CPU seconds a run, 86.74 ± 0.25 with Paddle in 107.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes

from mlstack.commands.compare_runs import read_run
from mlstack.reports.metrics_file import read_metrics
from mlstack.reports.saving import save_png
from mlstack.reports.seed_summary import ComparedRun, differing
from mlstack.reports.style import BLUE, ORANGE, dress, new_figure, set_title
from mlstack.runs import RunFolder

HERE = Path(__file__).resolve().parent
ENGINES = ("lightning", "paddle")
WORDS = (
    "data=fashion_mnist",
    "model.args.width=16",
    "trainer.max_epochs=3",
    "trainer.accelerator=cpu",
    "trainer.progress_bar=false",
    "tracker=none",
)
BAR = 1.0  # points of a hundred between the means
DIFFERENT = {"trainer.engine", "model.target", "seed"}
FIGURE = Path("outputs/same_accuracy.png")


def main() -> None:
    """Train all in turns; print a table, a verdict, and where the figure is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, list[ComparedRun]] = {engine: [] for engine in ENGINES}
        for seed in seeds:
            for engine in ENGINES:
                run = train(engine, seed, Path(folder) / f"{engine}_{seed}")
                runs[engine].append(run)
                print(f"{engine}, seed {seed}: {accuracy(run):.2%}, {run.speed['cpu_seconds']:.0f} CPU s", flush=True)
        print_summary(runs)
        print(f"written: {draw(runs)}")


def train(engine: str, seed: int, folder: Path) -> ComparedRun:
    """Train once with the real command."""
    own = (f"trainer.engine={engine}", f"model.target=_small_resnet_{engine}:resnet", f"seed={seed}")
    command = [sys.executable, str(HERE.parent / "scripts" / "train.py"), *WORDS, *own, f"output_dir={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    (results,) = folder.rglob("results.json")
    return read_run(RunFolder(results.parent))


def accuracy(run: ComparedRun) -> float:
    """On test, of the checkpoint that was the best on val."""
    value = run.metrics["test"]["accuracy"]
    assert value is not None
    return value


def print_summary(runs: Mapping[str, Sequence[ComparedRun]]) -> None:
    """Accuracy of each seed, mean ± deviation, CPU seconds, and the difference of the means."""
    rows = list(runs.values())
    different = differing([run for found in rows for run in found])
    assert set(different) <= DIFFERENT, different
    print(f"\nsettings that differ: {', '.join(different)}\n")
    names = [f"seed {run.seed}" for run in rows[0]]
    print(f"{'accuracy on test':<18}" + "".join(f"{name:>10}" for name in [*names, "mean"]) + f"{'CPU seconds':>20}")
    for engine, found in runs.items():
        scores = [100 * accuracy(run) for run in found]
        seconds = mean(float(run.speed["cpu_seconds"] or 0) for run in found)
        columns = "".join(f"{score:>10.2f}" for score in [*scores, mean(scores)])
        deviation = stdev(scores) if len(scores) > 1 else 0.0
        print(f"{engine:<18}{columns} ± {deviation:.2f}{seconds:>13.0f}")
    one, other = (mean(100 * accuracy(run) for run in found) for found in rows)
    verdict = "ok" if abs(one - other) <= BAR else "short"
    print(f"\nthe means differ by {abs(one - other):.2f} points, at most {BAR:g}: {verdict}")


def draw(runs: Mapping[str, Sequence[ComparedRun]]) -> Path:
    """Training loss and accuracy on val over the steps, a line a run."""
    figure = new_figure(9, 3.8)
    loss, score = figure.subplots(1, 2)
    draw_lines(loss, runs, "train_loss")
    draw_lines(score, runs, "val_accuracy")
    score.legend(loc="lower right", frameon=False, fontsize=8)
    set_title(figure, "Fashion-MNIST: a small ResNet with both engines, from the same settings", "one line a seed")
    return save_png(figure, FIGURE)


def draw_lines(axes: Axes, runs: Mapping[str, Sequence[ComparedRun]], column: str) -> None:
    """A column of metrics.csv for every run."""
    looks = ((BLUE, "solid", "o"), (ORANGE, (0, (4, 2)), "s"))
    for (engine, found), (colour, dashes, marker) in zip(runs.items(), looks, strict=True):
        for number, run in enumerate(found):
            points = read_metrics(run.path / "metrics.csv")[column]
            few = marker if len(points) < 10 else ""
            axes.plot(
                points.steps,
                points.values,
                color=colour,
                linestyle=dashes,
                marker=few,
                markersize=4,
                linewidth=1.2,
                alpha=0.8,
                label=engine if number == 0 else None,
            )
    axes.set_xlim(left=0)
    dress(axes, x="optimizer steps", y=column.replace("_", " "), grid="y")


if __name__ == "__main__":
    main()
