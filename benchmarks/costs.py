"""What training choices cost: EMA, MixUp, CutMix a step, and a checkpoint every 50 steps: `python benchmarks/costs.py`.

Two minutes. ResNet-18 with the small stem, batch 64 of 32×32, one thread, CPU seconds. A choice's cost is measured by
itself and set against a training step; a checkpoint's in a real run on the digits (8×8, the shortest steps that this
network has), where it weighs most, as the share of the run's wall time.

Expect: EMA ≤ 5 % of a step, a checkpoint every 50 steps ≤ 3 % of the run.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from statistics import median

import torch

from _timing import Row, interleave, keep_memory, print_table
from _workload import made_up_pictures
from mlstack.commands.train import complete
from mlstack.config import AugmentConfig, Config
from mlstack.config.compose import compose
from mlstack.datasets import load_dataset
from mlstack.datasets.derived import with_derived
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.lightning.averaging import WeightAverage
from mlstack.engines.lightning.checkpoints import Checkpoints
from mlstack.engines.lightning.engine import LightningEngine
from mlstack.engines.lightning.optimizers import build_optimizer
from mlstack.models.pytorch import build_classifier
from mlstack.runs import create_run

BATCH = 64
ROUNDS = 7


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    keep_memory()
    a_step()
    checkpoints()


def a_step() -> None:
    """Milliseconds of a training step, and of what a choice adds to it."""
    dataset = made_up_pictures(BATCH * 8)
    config = compose(Config, ["model=resnet18", "data=cifar10"])
    data = with_derived(config.data, dataset)
    network = build_classifier(config.model, data).train()
    optimizer = build_optimizer(config.model, network, fused=True)
    average = WeightAverage(network, 0.999)

    def loader(**augment: float) -> BatchLoader:
        changes = AugmentConfig(flip=0.5, crop=4, **augment)  # type: ignore[arg-type]
        return BatchLoader(
            dataset.splits["train"], batch_size=BATCH, image_size=32, shuffle=True, augment=changes, classes=10
        )

    batch = loader().batch(0, 0)
    images, labels = torch.from_numpy(batch.images), torch.from_numpy(batch.labels)

    def train() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    loaders = {"plain": loader(), "MixUp": loader(mixup=0.2), "CutMix": loader(cutmix=1.0)}
    contenders: dict[str, Callable[[], object]] = {"a training step": train, "EMA": lambda: average.update(1000)}
    for name, batches in loaders.items():
        contenders[name] = lambda batches=batches: [batches.batch(0, step) for step in range(8)]  # type: ignore[misc]
    seconds = interleave(contenders, ROUNDS)
    step = median(seconds["a training step"])
    rows = [Row("a training step", 1e3 * step)]
    added = {"EMA": median(seconds["EMA"])}
    added |= {name: (median(seconds[name]) - median(seconds["plain"])) / 8 for name in ("MixUp", "CutMix")}
    for name, cost in added.items():
        bar = " (bar 5 %)" if name == "EMA" else ""
        rows.append(Row(name, 1e3 * cost, note=f"{cost / step:+.2%} of a step{bar}"))
    print_table("what a choice adds to a step: resnet18, batch 64 of 32×32", "CPU ms", rows)


def checkpoints() -> None:
    """The share of a run that goes into checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["recipe=digits_quick", "trainer.max_steps=150", "trainer.limit_val_batches=0", "tracker=none"]
        every = ["trainer.checkpoint_every_n_steps=50", "trainer.max_epochs=20", "trainer.progress_bar=false"]
        config = compose(Config, [*words, *every, "trainer.accelerator=cpu", f"output_dir={folder}"])
        dataset = load_dataset(config.data)
        config = complete(config, dataset)
        spent: list[float] = []
        original = Checkpoints.save_last

        def timed(self: Checkpoints, *arguments: object) -> None:
            start = time.perf_counter()
            original(self, *arguments)  # type: ignore[arg-type]
            spent.append(time.perf_counter() - start)

        Checkpoints.save_last = timed  # type: ignore[method-assign]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                result = LightningEngine().fit(config, dataset, create_run(config))
        finally:
            Checkpoints.save_last = original  # type: ignore[method-assign]
    share = sum(spent) / result.train_seconds
    row = Row("one checkpoint", 1e3 * median(spent), note=f"{len(spent)} of them are {share:.2%} of the run (bar 3 %)")
    print_table("a checkpoint every 50 steps: resnet18 on the digits, 150 steps, all of it 134 MB", "ms", [row])


if __name__ == "__main__":
    main()
