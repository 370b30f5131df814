"""bfloat16 and channels_last against float32, through our engine: `python benchmarks/precision.py`, 6 minutes.

Speed: resnet18 with the small-image stem on 32 × 32 pixels, batches of 32, one thread, CPU seconds; a run of few steps
is subtracted from one of many. Expect 1.6 × or more for both together on a processor with AVX512-BF16; on another one
there is no bar. Then the loss: the embedded digits, three seeds in each precision. Expect the two means to lie
within two standard errors of their difference, or the seeds of one within the range of the other's.
"""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from statistics import mean, median, stdev

import torch

from _timing import Row, median_ratio, print_table
from _workload import made_up_pictures
from mlstack.commands.train import complete
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import Dataset, load_dataset
from mlstack.engines.lightning.engine import LightningEngine
from mlstack.runs import RunFolder, create_run
from mlstack.utils.hardware import cpu_flags, cpu_name

BATCH, WARM_UP, STEPS, ROUNDS = 32, 1, 4, 5
BAR = 1.6
SEEDS, EPOCHS = (0, 1, 2), 5
WAYS = {
    "float32, contiguous": ("trainer.precision=32", "trainer.channels_last=false"),
    "float32, channels_last": ("trainer.precision=32", "trainer.channels_last=true"),
    "bfloat16, contiguous": ("trainer.precision=bf16", "trainer.channels_last=false"),
    "bfloat16, channels_last": ("trainer.precision=bf16", "trainer.channels_last=true"),
}


def main() -> None:
    """Print the table of speeds, then the losses of both precisions."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        compare_speed(folder)
        compare_losses(folder)


def compare_speed(folder: str) -> None:
    """Run the four ways in turns and print steps a CPU second."""
    dataset = made_up_pictures(BATCH * (WARM_UP + STEPS))
    ways = {name: steps_of(dataset, folder, overrides) for name, overrides in WAYS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(WARM_UP)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name].append(seconds_a_step(way))
    (reference_name, reference), *others = seconds.items()
    has_bfloat16 = "avx512_bf16" in cpu_flags()
    last = list(WAYS)[-1]
    rows = [Row(reference_name, BATCH / median(reference))]
    for name, times in others:
        bar = BAR if name == last and has_bfloat16 else None
        rows.append(Row(name, BATCH / median(times), median_ratio(times, reference), bar))
    print_table(f"resnet18, small-image stem, 32 × 32, batch {BATCH}", "images / CPU second", rows)
    if not has_bfloat16:
        print(f"{cpu_name()} has no AVX512-BF16: the bar of {BAR:g} × doesn't apply")


def steps_of(dataset: Dataset, folder: str, overrides: Sequence[str]) -> Callable[[int], None]:
    """A function that trains resnet18 for so many steps."""

    def run(steps: int) -> None:
        limits = [f"trainer.limit_train_batches={steps}", "trainer.limit_val_batches=0", "trainer.max_epochs=1"]
        train(dataset, folder, "model=resnet18", f"data.batch_size={BATCH}", *limits, *overrides)

    return run


def seconds_a_step(run: Callable[[int], None]) -> float:
    """CPU seconds of one step, set-up and checkpoints taken out."""
    times = []
    for steps in (WARM_UP, WARM_UP + STEPS):
        start = time.process_time()
        run(steps)
        times.append(time.process_time() - start)
    return (times[1] - times[0]) / STEPS


def compare_losses(folder: str) -> None:
    """Train each seed in both precisions; print the loss after each epoch, the final scores, and a verdict."""
    dataset = load_dataset(compose(Config, ["data=digits"]).data)
    curves = {
        precision: [curve(dataset, folder, f"trainer.precision={precision}", f"seed={seed}") for seed in SEEDS]
        for precision in ("32", "bf16")
    }
    print(f"\nresnet18 on digits, {EPOCHS} epochs, seeds {SEEDS}: validation loss, mean ± deviation")
    print(f"{'epoch':<10}" + "".join(f"{epoch:>18}" for epoch in range(1, EPOCHS + 1)) + f"{'accuracy':>18}")
    for precision, runs in curves.items():
        columns = [[float(run[epoch]["val_loss"]) for run in runs] for epoch in range(EPOCHS)]
        columns.append([float(run[-1]["val_accuracy"]) for run in runs])
        print(f"{precision:<10}" + "".join(f"{mean(column):>9.4f} ± {stdev(column):.4f}" for column in columns))
    for name in ("val_loss", "val_accuracy"):
        print_verdict(name, *([float(run[-1][name]) for run in runs] for runs in curves.values()))


def curve(dataset: Dataset, folder: str, *overrides: str) -> list[dict[str, str]]:
    """The rows of metrics.csv that a validation wrote, one an epoch."""
    run = train(dataset, folder, "model=resnet18", "data=digits", f"trainer.max_epochs={EPOCHS}", *overrides)
    with run.metrics_path.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["val_loss"]]


def print_verdict(name: str, exact: Sequence[float], coarse: Sequence[float]) -> None:
    """Whether the difference of the means is one that seeds alone make."""
    difference = mean(coarse) - mean(exact)
    error = ((stdev(exact) ** 2 + stdev(coarse) ** 2) / len(SEEDS)) ** 0.5
    inside = min(exact) <= mean(coarse) <= max(exact) or min(coarse) <= mean(exact) <= max(coarse)
    verdict = "ok" if abs(difference) <= 2 * error or inside else "short"
    print(f"{name:<13} bf16 - 32: {difference:+.4f}, standard error {error:.4f}   {verdict}")


def train(dataset: Dataset, folder: str, *overrides: str) -> RunFolder:
    """One run on the CPU, in silence."""
    config = compose(Config, ["trainer.accelerator=cpu", "tracker=none", f"output_dir={folder}", *overrides])
    run = create_run(config := complete(config, dataset))
    with contextlib.redirect_stdout(io.StringIO()):
        LightningEngine().fit(config, dataset, run)
    return run


if __name__ == "__main__":
    main()
