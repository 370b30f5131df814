"""Train through the engine, as shipped, and look at its steady state: no warm-up, the device waited for at the edges.

A `Clock` stands in the place where the engine counts images after each turn of its loop. It starts after some turns,
and ends the training once it has seen enough: how many steps that takes need not be known before, and no epoch's end,
validation or checkpoint lies within.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from gpu_parts._part import Place
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import Dataset, Split
from mlstack.datasets.derived import complete
from mlstack.datasets.images import pick
from mlstack.engines.lightning import progress
from mlstack.engines.lightning.engine import LightningEngine
from mlstack.runs import create_run
from mlstack.utils.memory import peak_memory_mb
from mlstack.validation import synthetic
from mlstack.validation.nvml import open_gpu
from mlstack.validation.sampling import Sampler, gpu_memory, gpu_utilization

STEPS = 1000  # of an epoch: more than any clock waits for
QUIET = ("tracker=none", "trainer.max_epochs=1", "trainer.limit_val_batches=0", "trainer.progress_bar=false")


class Enough(Exception):  # noqa: N818 - nothing went wrong
    """The clock has seen enough. (No error of the engine's: it passes through untouched.)"""


@dataclass
class Clock:
    """Times turns of a training.

    Attributes:
        warm_up: Turns that are not timed: kernels are chosen, memory is taken, workers start.
        seconds: How long it looks, at least.
        turns: How many turns it looks at, at least.
        on_edges: Called when it starts and when it ends.
    """

    warm_up: int
    seconds: float
    turns: int = 4
    on_edges: Callable[[], None] = lambda: None
    seen: int = 0
    images: int = 0
    first_turn: float = 0.0
    started: float = 0.0
    elapsed: float = 0.0
    span: tuple[float, float] = (0.0, 0.0)
    created: float = field(default_factory=time.perf_counter)

    def turn(self, images: int) -> None:
        """After a turn with so many images.

        Raises:
            Enough: It has seen enough.
        """
        self.seen += 1
        if self.seen == 1:
            synchronize()
            self.first_turn = time.perf_counter() - self.created
        if self.seen == self.warm_up:
            synchronize()
            self.on_edges()
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            self.span, self.started = (time.time(), 0.0), time.perf_counter()
        elif self.seen > self.warm_up:
            self.images += images
            if time.perf_counter() - self.started >= self.seconds and self.seen >= self.warm_up + self.turns:
                self.on_edges()
                synchronize()
                self.elapsed = time.perf_counter() - self.started
                self.span = (self.span[0], time.time())
                raise Enough


@dataclass(frozen=True)
class Steady:
    """What a training is like once it is warm.

    Attributes:
        images_per_second: Over wall time.
        peak_mb: Most memory that torch had given out, in MiB; of a dry run, that the process held.
        gpu_busy: Share of the time in which the GPU ran a kernel, by NVML, 0 to 1; None where it does not tell.
        gpu_memory: Share of the GPU's memory in use, by NVML.
        first_turn: Seconds to the end of the first turn, set-up included.
        turns: That were timed.
    """

    images_per_second: float
    peak_mb: float
    gpu_busy: float | None
    gpu_memory: float | None
    first_turn: float
    turns: int

    @property
    def details(self) -> dict[str, Any]:
        return {"peak_mb": self.peak_mb, "gpu_busy": self.gpu_busy, "gpu_memory": self.gpu_memory, "turns": self.turns}

    @property
    def note(self) -> str:
        """Memory and utilisation in words."""
        shares = (("GPU busy", self.gpu_busy), ("its memory", self.gpu_memory))
        return ", ".join([f"peak {self.peak_mb:,.0f} MiB", *(f"{name} {x:.0%}" for name, x in shares if x is not None)])


def steady(place: Place, dataset: Dataset, *words: str, on_edges: Callable[[], None] = lambda: None) -> Steady:
    """Train until a clock has seen enough."""
    clock = Clock(*((1, 0.0, 2) if place.dry else (10, 2.5, 8)), on_edges=on_edges)
    config = settings(place, dataset, *QUIET, *words)
    engine = LightningEngine()
    engine.check(config)
    gc.collect()  # what the training before this one left on the GPU hangs together in circles
    if not place.dry:
        torch.cuda.empty_cache()
    with open_gpu() as gpu, Sampler(os.getpid(), gpu) as sampler, timed(clock):
        with contextlib.suppress(Enough), contextlib.redirect_stdout(io.StringIO()):
            engine.fit(config, dataset, create_run(config))
        peak = peak_memory_mb() if place.dry else torch.cuda.max_memory_allocated() / 2**20
    if not clock.elapsed:
        raise RuntimeError(f"the training ended after {clock.seen} turns, before the clock had seen enough")
    return Steady(
        clock.images / clock.elapsed,
        peak,
        gpu_utilization(sampler.samples, [clock.span]),
        gpu_memory([one for one in sampler.samples if clock.span[0] <= one.at <= clock.span[1]]),
        clock.first_turn,
        clock.seen - clock.warm_up,
    )


def settings(place: Place, dataset: Dataset, *words: str) -> Config:
    """All settings of a training on this data set, as the command line would have them."""
    where = [f"trainer.accelerator={place.accelerator}", f"output_dir={place.folder}"]
    return complete(compose(Config, [*where, *words]), dataset)


@contextlib.contextmanager
def timed(clock: Clock) -> Iterator[None]:
    """Let the clock count each turn of the trainings within the block."""
    original = progress.Speed.on_train_batch_end

    def turn(self: progress.Speed, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        original(self, trainer, module, outputs, batch, index)
        clock.turn(sum(len(labels) for _, labels in batch) * trainer.world_size)

    progress.Speed.on_train_batch_end = turn  # type: ignore[method-assign]
    try:
        yield
    finally:
        progress.Speed.on_train_batch_end = original  # type: ignore[method-assign]


def synchronize() -> None:
    """Wait until the GPU, where there is one, has done everything."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def endless(dataset: Dataset, batch: int) -> Dataset:
    """The same data set with an epoch of `STEPS` batches, in which its pictures come again and again."""
    train, rows = dataset.splits["train"], np.arange(STEPS * batch) % len(dataset.splits["train"])
    split = Split(pick(train.images, rows), train.labels[rows], synthetic.Numbered("train", len(rows)))
    return replace(dataset, splits={**dataset.splits, "train": split})


def made_up(place: Place, *, side: int, batch: int) -> Dataset:
    """Pictures that cost nothing to read, ten classes."""
    shape = f"{{train:{STEPS * batch},val:{batch},test:{batch},side:{side},channels:3,answers:10}}"
    words = [f"data.target={synthetic.TARGET}", f"data.args={shape}", f"output_dir={place.folder}"]
    return synthetic.load(compose(Config, words).data)
