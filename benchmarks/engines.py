"""The Paddle engine against the Lightning engine: `OMP_NUM_THREADS=1 python benchmarks/engines.py`, 2 minutes.

Both train the same settings on the same made-up pictures, in turns in one process, on one thread of a CPU; CPU
milliseconds a step, set-up left out. Then the same single operations in both frameworks, which say where the gap comes
from. There is no bar: the frameworks' own kernels decide.

Expect 0.45 × of Lightning's speed for small_cnn, 0.52 × for the ResNet of 8 layers and 0.80 × for resnet18. The reason
is convolutions, which take 1.6 to 2.3 times as long: Paddle's run outside oneDNN, picture by picture, as a matrix
product. Nothing else takes more than 1.5 times as long. (On this AMD processor it was 0.29 ×, 0.32 × and 0.31 × before
`mlstack/models/paddle/kernels.py` chose kernels for it.)
"""

from __future__ import annotations

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401  # before anything else imports Paddle

import contextlib
import io
import tempfile
from dataclasses import dataclass, replace
from itertools import repeat
from statistics import median

import torch

from _operations import operations
from _timing import Row, interleave, keep_memory, median_ratio, print_table
from _turns import Turns
from _workload import made_up_pictures
from mlstack.commands.train import complete
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import Dataset, Split
from mlstack.engines.factory import create_engine
from mlstack.runs import create_run

ENGINES = ("lightning", "paddle")
WARM_UP, ROUNDS = 3, 5


@dataclass(frozen=True)
class Work:
    """What is trained; `{engine}` in its words is replaced."""

    name: str
    words: tuple[str, ...]
    side: int
    channels: int
    batch: int
    steps: int


WORKS = (
    Work("small_cnn", ("model=small_cnn",), side=28, channels=1, batch=64, steps=20),
    Work(
        "a ResNet of 8 layers",
        ("model.target=_small_resnet_{engine}:resnet", "model.args.width=16"),
        side=28,
        channels=1,
        batch=64,
        steps=20,
    ),
    Work("resnet18", ("model=resnet18",), side=32, channels=3, batch=8, steps=4),
)


def main() -> None:
    """Print a table for each network, and one of operations."""
    torch.set_num_threads(1)
    keep_memory()
    for work in WORKS:
        with tempfile.TemporaryDirectory() as folder:
            compare_training(work, folder)
    compare_operations()


def compare_training(work: Work, folder: str) -> None:
    """Train with each engine in turns; the first round warms up."""
    dataset = made_up_pictures(work.batch * (WARM_UP + work.steps + 1), side=work.side, channels=work.channels)
    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for _ in range(ROUNDS):
        for engine in ENGINES:
            seconds[engine].append(seconds_a_step(engine, work, dataset, folder))
    reference, ours = seconds.values()
    rows = [
        Row("lightning", work.batch / median(reference), note=f"{1e3 * median(reference):.1f} ms a step"),
        Row("paddle", work.batch / median(ours), median_ratio(ours, reference), None, f"{1e3 * median(ours):.1f} ms"),
    ]
    title = f"{work.name}, batch {work.batch} of {work.side} × {work.side} × {work.channels}"
    print_table(title, "images / CPU second", rows)


def seconds_a_step(engine: str, work: Work, dataset: Dataset, folder: str) -> float:
    """CPU seconds of a training step, validation and checkpoints left out."""
    train = dataset.splits["train"]
    clock = Turns(train.images, repeat(None), first=WARM_UP, last=WARM_UP + work.steps)
    watched = replace(dataset, splits={**dataset.splits, "train": Split(clock, train.labels, train.names)})
    words = [word.format(engine=engine) for word in work.words]
    run = ["trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.limit_val_batches=0", f"output_dir={folder}"]
    config = compose(Config, [*words, f"trainer.engine={engine}", f"data.batch_size={work.batch}", *run])
    config = complete(config, dataset)
    with contextlib.redirect_stdout(io.StringIO()):
        create_engine(engine).fit(config, watched, create_run(config))
    return clock.ours / work.steps


def compare_operations() -> None:
    """Print CPU milliseconds of each operation in both frameworks, and how many times as long Paddle takes."""
    print(f"\n{'forward and backward, CPU milliseconds':<42}{'torch':>10}{'paddle':>10}{'as long':>10}")
    for name, (theirs, ours) in operations().items():
        times = interleave({"torch": theirs, "paddle": ours}, repeats=15)
        one, other = (1e3 * median(times[side]) for side in ("torch", "paddle"))
        print(f"{name:<42}{one:>10.3f}{other:>10.3f}{other / one:>8.1f} ×")


if __name__ == "__main__":
    main()
