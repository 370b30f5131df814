"""Do bundles answer as the networks do? `OMP_NUM_THREADS=1 python benchmarks/parity.py`, 15 minutes.

Every shipped model with each engine, trained by the command that a user types for `STEPS` batches of the real
Fashion-MNIST at 32 pixels (of scikit-learn's digits where that is not installed), so that weights and the statistics of
batch norms are trained ones. Then the network in its framework and the exported graph in ONNX Runtime answer for the
same 1,000 test pictures (of the digits: for all 179).

Prints for each: accuracy on those pictures, the relative error of probabilities and of features, decisions that are the
same, and the same where the network's own margin is at least 1e-4. The bar: 100 % of these, an error of at most 1e-3.
Name some to run these alone: `python benchmarks/parity.py --models resnet18 small_cnn --engines paddle`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx

from mlstack.bundle.session import Session
from mlstack.commands.evaluate import on_this_machine
from mlstack.config.trainer import ENGINES
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.export.bundle_data import hold_out
from mlstack.export.graph import complete
from mlstack.export.parity import Parity, compare
from mlstack.export.pictures import HeldOutSource, ask
from mlstack.export.run_bundle import in_32_bits
from mlstack.export.temperature import activated
from mlstack.metrics import score
from mlstack.reports.tables import table
from mlstack.runs import RunFolder

HERE = Path(__file__).resolve().parent
# The stem for large pictures, which a ResNet would not take at this size, makes 16 times as many batches affordable.
MODELS = {
    "resnet18": ("model.stem=standard",),
    "resnet34": ("model.stem=standard",),
    "resnet50": ("model.stem=standard",),
    "efficientnet": (),
    "mobilenet_v3": (),
    "small_cnn": (),
}
STEPS = 300  # batches of 32
LONGER = {"mobilenet_v3": 1500}  # the statistics of its batch norms follow ten times as slowly
FASHION = Path("/usr/share/datasets/fashion-mnist")
IMAGES, ERROR = 1000, 1e-3
HEADER = ["model", "engine", "pictures", "accuracy", "answers", "features", "same", "clear", "same of these", ""]


@dataclass(frozen=True)
class Measured:
    """One row."""

    model: str
    engine: str
    accuracy: float
    parity: Parity

    @property
    def row(self) -> list[str]:
        parity = self.parity
        verdict = "ok" if parity.failure(ERROR) is None else "short"
        errors = [f"{parity.output_error:.1e}", f"{parity.feature_error:.1e}"]
        same = [f"{parity.agreement:.2%}", f"{parity.clear:,}", f"{parity.agreement_clear:.2%}"]
        return [self.model, self.engine, f"{parity.images:,}", f"{self.accuracy:.1%}", *errors, *same, verdict]


def main() -> None:
    """Train, export and compare; print a table and a verdict."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    asked = parser.parse_args()
    rows = []
    for model in asked.models:
        for engine in asked.engines:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(train(model, engine, Path(folder)), model))
            print("  ".join(rows[-1].row), flush=True)
    print("\n" + table(HEADER, [row.row for row in rows]))
    short = [row for row in rows if row.parity.failure(ERROR)]
    print(f"\nbar {ERROR:g}, 100 % where the margin is at least 1e-4: {'short' if short else 'ok'}")


def train(model: str, engine: str, folder: Path) -> RunFolder:
    """Train with the real command."""
    words = [
        f"model={model}",
        *MODELS[model],
        f"trainer.engine={engine}",
        "data=fashion_mnist" if FASHION.is_dir() else "data=digits",
        "data.image_size=32",
        "data.batch_size=32",
        "trainer.max_epochs=1",
        f"trainer.limit_train_batches={LONGER.get(model, STEPS)}",
        "trainer.limit_val_batches=2",
        "trainer.limit_test_batches=2",
        "trainer.accelerator=cpu",
        "trainer.progress_bar=false",
        "tracker=none",
        f"output_dir={folder}",
    ]
    command = [sys.executable, str(HERE.parent / "scripts" / "train.py"), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    (results,) = folder.rglob("results.json")
    return RunFolder(results.parent)


def measure(run: RunFolder, model: str) -> Measured:
    """Export the network and let both answer."""
    settings = in_32_bits(on_this_machine(run.read_config(), accelerator="cpu"))
    data, engine = settings.data, create_engine(settings.trainer.engine)
    engine.export_onnx(settings, run.path / "core.onnx", run=run)
    assert data.mean and data.std and data.channels and data.image_size
    graph = complete(
        onnx.load(run.path / "core.onnx"),
        mean=data.mean,
        std=data.std,
        channels=data.channels,
        height=data.image_size,
        width=data.image_size,
        task=data.task,
    )
    onnx.save(graph, run.path / "model.onnx")
    held_out = hold_out(load_dataset(data), "test", limit=IMAGES)
    found = ask(Session(run.path / "model.onnx"), held_out, words=model)
    own = engine.answers(settings, HeldOutSource(held_out, batch_size=32), run=run)
    expected = activated(own.logits, data.task)
    accuracy = score(data.task, found.output, held_out.labels)["accuracy"]
    assert accuracy is not None
    parity = compare(expected, own.features, found.output, found.features, task=data.task)
    return Measured(model, settings.trainer.engine, accuracy, parity)


if __name__ == "__main__":
    main()
