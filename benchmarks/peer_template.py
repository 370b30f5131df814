"""Training against the usual template's way of doing the same: `python benchmarks/peer_template.py`, 4 minutes.

A small CNN on CIFAR-10 files, crop and flip, one thread, images a CPU second with everything in it (loading, metrics,
two loggers, progress bar on a terminal); a run of few steps is subtracted from one of many, so that set-up, checkpoints
and validation are left out. The peer is `_peer.py`; it needs `rich`, which `make setup-dev` installs. Both sides train
float32 with Adam at a constant rate. No bar is set; expect 2 to 3 ×.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

import _peer
from _cnn import cnn
from _timing import Row, median_ratio, print_table
from loader import make_binary, make_pickled
from mlstack.commands.train import complete
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import load_dataset
from mlstack.engines.lightning.engine import LightningEngine
from mlstack.runs import create_run

ROUNDS = 7
WARM_UP = 8
STEPS = {16: 256, 64: 56}  # batch size → steps that are measured
WIDTH = 8


class Screen(io.StringIO):
    """A terminal, as far as a progress bar can tell."""

    def isatty(self) -> bool:
        return True


def main() -> None:
    """Make the files and print a table for each batch size."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_binary(folder / "binary" / "cifar-10-batches-bin")
        make_pickled(folder / "pickled" / "cifar-10-batches-py")
        for batch_size, steps in STEPS.items():
            compare_training(folder, batch_size, steps)


def compare_training(folder: Path, batch_size: int, steps: int) -> None:
    """Train in turns; print images a CPU second."""
    contenders = {
        "the template's way": by_peer(folder, batch_size, each_step=False),
        "the same, on_step=True": by_peer(folder, batch_size, each_step=True),
        "mlstack": by_engine(folder, batch_size),
        "mlstack, trainer=fast": by_engine(folder, batch_size, "trainer=fast"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(Screen()):
        for contender in contenders.values():
            contender(WARM_UP)
        for _ in range(ROUNDS):
            for name, contender in contenders.items():
                seconds[name].append(seconds_of(contender, steps))
    (peer, reference), *others = seconds.items()
    images = batch_size * steps
    rows = [Row(peer, images / median(reference))]
    rows += [Row(name, images / median(times), median_ratio(times, reference)) for name, times in others]
    print_table(f"training a CNN {WIDTH} wide on CIFAR-10 files, batch {batch_size}", "images / CPU second", rows)


def seconds_of(run: Callable[[int], None], steps: int) -> float:
    """CPU seconds of so many steps, set-up taken out."""
    times = []
    for length in (WARM_UP, WARM_UP + steps):
        start = time.process_time()
        run(length)
        times.append(time.process_time() - start)
    return times[1] - times[0]


def by_peer(folder: Path, batch_size: int, *, each_step: bool) -> Callable[[int], None]:
    """A function that trains so many steps the template's way."""
    loader = _peer.data_loader(folder / "pickled", batch_size)

    def run(steps: int) -> None:
        network = cnn(num_classes=10, in_channels=3, image_size=32, width=WIDTH)
        _peer.train(network, loader, steps=steps, each_step=each_step, folder=folder / "peer")

    return run


def by_engine(folder: Path, batch_size: int, *overrides: str) -> Callable[[int], None]:
    """A function that trains so many steps with our engine, validation off, everything else as shipped."""
    network = ["model.target=_cnn:cnn", f"model.args.width={WIDTH}"]
    optimizer = ["model.optimizer=adam", "model.weight_decay=0", "model.scheduler=constant"]
    run_settings = ["trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.limit_val_batches=0"]
    data = [f"data.path={folder / 'binary'}", f"data.batch_size={batch_size}", f"output_dir={folder / 'outputs'}"]
    dataset = load_dataset(compose(Config, data).data)

    def run(steps: int) -> None:
        limit = f"trainer.limit_train_batches={steps}"
        config = complete(compose(Config, [*network, *optimizer, *run_settings, *data, limit, *overrides]), dataset)
        LightningEngine().fit(config, dataset, create_run(config))

    return run


if __name__ == "__main__":
    main()
