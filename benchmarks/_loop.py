"""An engine against a hand-written loop in the same framework, step by step: what the two `loop*.py` share."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import median

from _timing import Row, keep_memory, print_table
from _turns import Turns
from _workload import made_up_pictures
from mlstack.commands.train import complete
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import Dataset, Split
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.factory import create_engine
from mlstack.runs import create_run

WARM_UP = 16  # steps that aren't counted; a multiple of the eight that trainer=fast takes in one turn
ROUNDS = 5

# From settings, a dataset and a number of steps to a loop that takes a step each time the next item is asked for.
ByHand = Callable[[Config, Dataset, int], Iterator[None]]


@dataclass(frozen=True)
class Size:
    """A network and a batch, tuned to a step's length.

    Attributes:
        words: Settings of the network.
        batch: Pictures a step.
        steps: Steps that are measured in a run.
        bars: For each of `Comparison.ways`, what its ratio should reach.
    """

    words: tuple[str, ...]
    batch: int
    steps: int
    bars: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        by_hand: The hand-written loop.
        ways: Name → settings with which the engine runs.
        sizes: Each gets a table.
    """

    by_hand: ByHand
    ways: Mapping[str, tuple[str, ...]]
    sizes: tuple[Size, ...]

    def run(self) -> None:
        """Measure each step length and print a table of it."""
        keep_memory()
        for size in self.sizes:
            with tempfile.TemporaryDirectory() as folder:
                self._measure(size, folder)

    def _measure(self, size: Size, folder: str) -> None:
        """Run each contender with the hand-written loop inside it and print what a step costs."""
        dataset = made_up_pictures(size.batch * (WARM_UP + size.steps + 8))
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in self.ways}
        for _ in range(ROUNDS):
            for name, overrides in self.ways.items():
                times[name].append(self._milliseconds_a_step(size, dataset, folder, overrides))
        by_hand = median(theirs for rounds in times.values() for _, theirs in rounds)
        rows = [Row("hand-written", 1e3 / by_hand, note=f"{by_hand:.2f} ms a step")]
        for (name, rounds), bar in zip(times.items(), size.bars, strict=True):
            ratio = median(theirs / ours for ours, theirs in rounds)
            overhead = median(ours - theirs for ours, theirs in rounds)
            rows.append(Row(name, 1e3 / median(ours for ours, _ in rounds), ratio, bar, f"{overhead:+.2f} ms"))
        title = f"a step of {by_hand:.1f} ms: {' '.join(size.words)}, batch {size.batch}, {size.steps} steps"
        print_table(title, "steps / CPU second", rows)

    def _milliseconds_a_step(
        self, size: Size, dataset: Dataset, folder: str, overrides: tuple[str, ...]
    ) -> tuple[float, float]:
        """CPU milliseconds of a step: the engine's and the hand-written loop's."""
        steps = WARM_UP + size.steps + 8  # eight more, so that the counted ones lie between two turns of either setting
        config = settings(size, dataset, folder, *overrides)
        train = dataset.splits["train"]
        turns = Turns(train.images, self.by_hand(config, dataset, steps), first=WARM_UP, last=WARM_UP + size.steps)
        watched = replace(dataset, splits={**dataset.splits, "train": Split(turns, train.labels, train.names)})
        with contextlib.redirect_stdout(io.StringIO()):
            create_engine(config.trainer.engine).fit(config, watched, create_run(config))
        return 1e3 * turns.ours / size.steps, 1e3 * turns.theirs / size.steps


def settings(size: Size, dataset: Dataset, folder: str, *overrides: str) -> Config:
    """data=cifar10 as shipped (crop and flip), one epoch on the CPU without validation."""
    run = ["trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.limit_val_batches=0", f"output_dir={folder}"]
    config = compose(Config, [*size.words, f"data.batch_size={size.batch}", *run, *overrides])
    return complete(config, dataset)


def batches(config: Config, dataset: Dataset) -> BatchLoader:
    """The hand-written loop's, as the engine has them."""
    augment, size = config.data.augment, config.data.batch_size
    train = dataset.splits["train"]
    return BatchLoader(train, batch_size=size, image_size=dataset.image_size, shuffle=True, augment=augment)
