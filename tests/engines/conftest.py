from __future__ import annotations

import csv
import dataclasses
import importlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.datasets import Dataset, load_dataset
from mlstack.engines import RunResult, create_engine
from mlstack.engines.factory import weight_files
from mlstack.runs import RunFolder

CLOCK = ("images_per_second", "cpu_seconds")


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a fit left behind."""

    config: Config
    dataset: Dataset
    run: RunFolder
    engine: Any
    result: RunResult

    def weights(self, name: str = "last") -> dict[str, NDArray[Any]]:
        """The network's weights in a checkpoint, averaged ones where there are some."""
        return weight_files(self.config.trainer.engine).read_weights(self.run.checkpoints / f"{name}.ckpt")

    def state(self, name: str = "last") -> dict[str, Any]:
        """What a checkpoint holds besides; `["position"]["step"]`, for one."""
        training = importlib.import_module(f"training_{self.config.trainer.engine}")
        return dict(training.state(self.run.checkpoints / f"{name}.ckpt"))

    def rows(self) -> list[dict[str, str]]:
        """metrics.csv, without the columns that the clock decides and without empty cells."""
        with self.run.metrics_path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [{name: cell for name, cell in row.items() if cell and name not in CLOCK} for row in rows]

    def column(self, name: str) -> list[float]:
        return [float(row[name]) for row in self.rows() if name in row]


Fit = Callable[..., Fitted]


@pytest.fixture
def training(engine: str) -> Any:
    """Where tests look into a run of this engine, or reach in."""
    return importlib.import_module(f"training_{engine}")


@pytest.fixture
def fit(tmp_path: Path, configure: Callable[..., Config]) -> Fit:
    """`fit(trainer__max_epochs=3)`: train a small network on a few digits."""
    from mlstack.commands.train import complete

    numbers = itertools.count()

    def fit(dataset: Dataset | None = None, **overrides: Any) -> Fitted:
        config = configure(**overrides)
        dataset = dataset or load_dataset(config.data)
        config = complete(config, dataset)
        run = RunFolder(tmp_path / f"run_{next(numbers)}")
        run.path.mkdir()
        engine = create_engine(config.trainer.engine)
        engine.check(config)
        return Fitted(config, dataset, run, engine, engine.fit(config, dataset, run))

    return fit
