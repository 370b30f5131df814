"""Our engine against a hand-written PyTorch loop: `python benchmarks/loop.py`, 4 minutes.

The same network (normalisation inside, channels_last), batches, fused AdamW, schedule and loss on both sides; one
thread, CPU seconds. The engine runs as shipped: metrics.csv, the TensorBoard tracker, loss and accuracy of training,
once with the default settings and once with `trainer=fast`. They take turns step by step: whenever the engine asks for
a batch, the hand-written loop takes a step of its own. So a busy moment of the machine meets both, and what lies
outside the steps (set-up, validation, checkpoints) is not counted.

Expect 0.85 × (default) and 0.93 × (fast) where the hand-written step takes 6 to 8 ms, 0.98 × where it takes 50 or more:
a millisecond or less a step.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from _timing import Row, keep_memory, print_table
from _turns import Turns
from _workload import made_up_pictures
from mlstack.commands.train import complete
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import Dataset, Split
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.lightning import LightningEngine
from mlstack.engines.schedules import schedule_factor
from mlstack.models.pytorch import build_classifier
from mlstack.runs import create_run

WARM_UP = 16  # steps that aren't counted; a multiple of the eight that trainer=fast takes in one turn


@dataclass(frozen=True)
class Size:
    """A network and a batch, tuned to a step's length; steps that are measured in a run; bars of default and fast."""

    width: int
    batch: int
    steps: int
    bars: tuple[float, float]


SHORT_STEP = Size(width=8, batch=28, steps=400, bars=(0.85, 0.93))
LONG_STEP = Size(width=16, batch=176, steps=104, bars=(0.98, 0.98))
SETTINGS = {"mlstack": (), "mlstack, trainer=fast": ("trainer=fast",)}
ROUNDS = 5


def main() -> None:
    """Measure both step lengths and print a table of each."""
    torch.set_num_threads(1)
    keep_memory()
    for size in (SHORT_STEP, LONG_STEP):
        with tempfile.TemporaryDirectory() as folder:
            measure(size, folder)


def measure(size: Size, folder: str) -> None:
    """Run each contender with the hand-written loop inside it and print what a step costs."""
    dataset = made_up_pictures(size.batch * (WARM_UP + size.steps + 8))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in SETTINGS}
    for _ in range(ROUNDS):
        for name, overrides in SETTINGS.items():
            times[name].append(milliseconds_a_step(size, dataset, folder, overrides))
    by_hand = median(theirs for rounds in times.values() for _, theirs in rounds)
    rows = [Row("hand-written", 1e3 / by_hand, note=f"{by_hand:.2f} ms a step")]
    for (name, rounds), bar in zip(times.items(), size.bars, strict=True):
        ratio = median(theirs / ours for ours, theirs in rounds)
        overhead = median(ours - theirs for ours, theirs in rounds)
        rows.append(Row(name, 1e3 / median(ours for ours, _ in rounds), ratio, bar, f"{overhead:+.2f} ms"))
    title = f"a step of {by_hand:.1f} ms: CNN {size.width} wide, batch {size.batch}, {size.steps} steps"
    print_table(title, "steps / CPU second", rows)


def milliseconds_a_step(size: Size, dataset: Dataset, folder: str, overrides: tuple[str, ...]) -> tuple[float, float]:
    """CPU milliseconds of a step: the engine's and the hand-written loop's."""
    steps = WARM_UP + size.steps + 8  # eight more, so that the counted ones lie between two turns of either setting
    config = settings(size, dataset, folder, *overrides)
    train = dataset.splits["train"]
    turns = Turns(train.images, by_hand(config, dataset, steps), first=WARM_UP, last=WARM_UP + size.steps)
    watched = replace(dataset, splits={**dataset.splits, "train": Split(turns, train.labels, train.names)})
    with contextlib.redirect_stdout(io.StringIO()):
        LightningEngine().fit(config, watched, create_run(config))
    return 1e3 * turns.ours / size.steps, 1e3 * turns.theirs / size.steps


def settings(size: Size, dataset: Dataset, folder: str, *overrides: str) -> Config:
    """data=cifar10 as shipped (crop and flip), one epoch on the CPU without validation."""
    network = ["model.target=_workload:cnn", f"model.args.width={size.width}", f"data.batch_size={size.batch}"]
    run = ["trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.limit_val_batches=0", f"output_dir={folder}"]
    config = compose(Config, [*network, *run, *overrides])
    return complete(config, dataset)


def by_hand(config: Config, dataset: Dataset, steps: int) -> Iterator[None]:
    """The least code that PyTorch needs; a step each time the next item is asked for."""
    network = build_classifier(config.model, config.data).train()
    rate, decay = config.model.learning_rate, config.model.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)
    schedule = LambdaLR(optimizer, partial(warmup_cosine, steps=steps, warmup=config.model.warmup_fraction))
    cross_entropy = nn.CrossEntropyLoss()
    size, image_size = config.data.batch_size, dataset.image_size
    augment = config.data.augment
    loader = BatchLoader(dataset.splits["train"], batch_size=size, image_size=image_size, shuffle=True, augment=augment)
    for step in range(steps):
        batch = loader.batch(0, step)
        loss = cross_entropy(network(torch.from_numpy(batch.images)), torch.from_numpy(batch.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield


def warmup_cosine(step: int, *, steps: int, warmup: float) -> float:
    """The factor of `step`, as on the other side."""
    return schedule_factor("warmup_cosine", step, total_steps=steps, steps_per_epoch=steps, warmup_fraction=warmup)


if __name__ == "__main__":
    main()
