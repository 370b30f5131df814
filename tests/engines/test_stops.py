"""A run that is stopped at any point, and goes on, ends bit for bit as one that was not stopped."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib
import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stops
from stops import USUAL, Stop

from mlstack.config.trainer import ENGINES

pytestmark = pytest.mark.framework

SHARED = "mlstack.engines"
CLOCK = ("images_per_second", "cpu_seconds")  # columns of metrics.csv that no two runs share
PRELOADED = [
    *(f"{SHARED}.{name}.engine" for name in ENGINES),
    "mlstack.commands.train",
    "mlstack.config.compose",
    "matplotlib.pyplot",
    "stops",
]
SECONDS = 120

# {engine} is the engine's name; {writing} and {validation_step} are functions of its own (training_{engine}.py).
STOPS = {
    "before a save": Stop(f"{SHARED}.checkpoint_files:CheckpointFolder.save", call=3),
    "in a save": Stop("{writing}", call=4, half=True),
    "between a save and its name": Stop(f"{SHARED}.checkpoint_files:sync", call=7),
    "between a name and the links": Stop(f"{SHARED}.checkpoint_files:CheckpointFolder.link", call=2),
    "between the last name and its links": Stop(f"{SHARED}.checkpoint_files:CheckpointFolder.link", call=3),
    "between two links": Stop(f"{SHARED}.checkpoint_files:replace_by_link", call=4),
    "in a validation": Stop("{validation_step}", call=8),
    "between a validation and its checkpoint": Stop(f"{SHARED}.checkpoint_files:CheckpointFolder.rank", call=2),
    "in an accumulation": Stop(f"{SHARED}.position:Position.seed", call=18),
    "in an optimizer step": Stop(f"{SHARED}.{{engine}}.averaging:WeightAverage.update", call=9),
    "at an epoch's change": Stop(f"{SHARED}.training_log:TrainingLog.begin_epoch", call=2),
    "before the first checkpoint": Stop(f"{SHARED}.{{engine}}.averaging:WeightAverage.update", call=1),
    "at the very end": Stop("mlstack.commands.train:record"),
    "by SIGTERM in a step": Stop(f"{SHARED}.{{engine}}.averaging:WeightAverage.update", call=11, number=signal.SIGTERM),
    "by Ctrl-C in a step": Stop(f"{SHARED}.{{engine}}.averaging:WeightAverage.update", call=3, number=signal.SIGINT),
    "by SIGTERM in a validation": Stop("{validation_step}", call=7, number=signal.SIGTERM),
}
EXIT_STATUS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
VARIANTS = {
    "float32": (),
    "bf16": ("trainer.precision=bf16",),
    "muon and plateau": (
        "model.scheduler=reduce_on_plateau",
        "model.scheduler_args.patience=0",
        "model.optimizer=muon",
    ),
    "workers": ("data.num_workers=2",),
}
# Every stop in float32, and where the others could differ.
TELLING = (
    "in a save",
    "between a validation and its checkpoint",
    "in an accumulation",
    "at an epoch's change",
    "by SIGTERM in a validation",
)
# Those that `make test` runs; `make test-long` runs the others.
USUALLY = {
    *(("float32", name) for name in (*TELLING, "at the very end", "by Ctrl-C in a step")),
    *((variant, "in an accumulation") for variant in VARIANTS),
}
CASES = [
    pytest.param(variant, name, marks=() if (variant, name) in USUALLY else pytest.mark.long)
    for variant in VARIANTS
    for name in (STOPS if variant == "float32" else TELLING)
]
SEEDS = [pytest.param(seed, marks=pytest.mark.long if seed else ()) for seed in range(10)]

Train = Callable[..., int | None]


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Children start in milliseconds: the server has imported the frameworks, and has never run them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@pytest.fixture(scope="module")
def train(context: ForkServerContext, engine: str) -> Train:
    """`train(folder, *words, stop=…)`: run scripts/train.py in a child, and give its exit status."""

    def train(folder: Path, *words: str, stop: Stop | None = None, kill_after: float | None = None) -> int | None:
        folder.mkdir(exist_ok=True)
        if not any(word.startswith("resume=") for word in words):
            words = (f"trainer.engine={engine}", f"model.target=tiny_networks_{engine}:noisy", *words)
        arguments = [*words, f"output_dir={folder / 'outputs'}"]
        child = context.Process(target=stops.train, args=(arguments, str(folder / "said.txt"), stop))
        child.start()
        if kill_after is not None:
            time.sleep(kill_after)
            child.kill()
        child.join(SECONDS)
        assert child.exitcode is not None, "it hangs"
        return child.exitcode

    return train


@pytest.fixture(scope="module")
def undisturbed(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, float]]:
    """The run folder of a run that nobody stops, and how many seconds it took; made once for each variant."""
    made: dict[str, tuple[Path, float]] = {}

    def undisturbed(variant: str) -> tuple[Path, float]:
        if variant not in made:
            folder = tmp_path_factory.mktemp("undisturbed")
            started = time.perf_counter()
            assert train(folder, *USUAL, *VARIANTS[variant]) == 0, said(folder)
            made[variant] = only_run(folder), time.perf_counter() - started
        return made[variant]

    return undisturbed


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text()


def only_run(folder: Path) -> Path:
    [run] = (folder / "outputs").glob("few_digits_*/*")
    return run


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in CLOCK} for row in csv.DictReader(file)]


def content(engine: str, path: Path) -> dict[str, Any]:
    """A checkpoint without what the clock decides."""
    own = importlib.import_module(f"training_{engine}")
    content: dict[str, Any] = own.state(path)
    *parents, speed = own.CLOCK
    functools.reduce(dict.__getitem__, parents, content).pop(speed)
    for name in ("seconds", "cpu_seconds", "metrics_bytes"):
        del content["position"][name]
    content["epoch_row"] = {name: cell for name, cell in content["epoch_row"].items() if name not in CLOCK}
    return content


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two checkpoints are not equal, bit for bit."""
    if hasattr(one, "shape"):
        if not (one.dtype == other.dtype and np.array_equal(np.asarray(one), np.asarray(other))):
            yield where
    elif isinstance(one, dict):
        if one.keys() != other.keys():
            yield f"{where}: {one.keys() ^ other.keys()}"
            return
        for key in one:
            yield from differences(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            yield f"{where}: {len(one)} and {len(other)}"
            return
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{where}[{place}]")
    elif one != other:
        yield f"{where}: {one} and {other}"


def assert_the_same(engine: str, run: Path, reference: Path) -> None:
    names = sorted(path.name for path in (reference / "checkpoints").iterdir())
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == names
    for name in names:
        found = differences(*(content(engine, path / "checkpoints" / name) for path in (run, reference)), name)
        assert list(found) == []
    assert rows(run) == rows(reference)


def at(engine: str, stop: Stop) -> Stop:
    """The stop's point in this engine."""
    own = importlib.import_module(f"training_{engine}")
    point = stop.point.format(engine=engine, writing=own.WRITING, validation_step=own.VALIDATION_STEP)
    return dataclasses.replace(stop, point=point)


@pytest.mark.parametrize(("variant", "name"), CASES)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    variant: str, name: str, engine: str, train: Train, undisturbed: Callable[[str], tuple[Path, float]], tmp_path: Path
) -> None:
    stop = at(engine, STOPS[name])
    assert train(tmp_path, *USUAL, *VARIANTS[variant], stop=stop) == EXIT_STATUS[signal.Signals(stop.number)]
    run = only_run(tmp_path)
    assert train(tmp_path, f"resume={run}") == 0, said(tmp_path)
    assert only_run(tmp_path) == run
    if name != "before the first checkpoint":
        assert "of its batches done" in said(tmp_path), "it was trained anew from the beginning"
    assert_the_same(engine, run, undisturbed(variant)[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_is_killed_at_random_moments_ends_as_if_it_had_not_been(
    seed: int, engine: str, train: Train, undisturbed: Callable[[str], tuple[Path, float]], tmp_path: Path
) -> None:
    reference, seconds = undisturbed("float32")
    draw = random.Random(seed)
    words: tuple[str, ...] = USUAL
    for _ in range(5):
        status = train(tmp_path, *words, kill_after=draw.uniform(0.2, 0.9) * seconds)
        if any((tmp_path / "outputs").glob("few_digits_*/*/config.yaml")):
            words = (f"resume={only_run(tmp_path)}",)
        else:  # killed before there was anything to go on with
            shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
        if status == 0:
            break
    assert train(tmp_path, *words) == 0, said(tmp_path)
    assert_the_same(engine, only_run(tmp_path), reference)
