"""What smaller costs: `python benchmarks/compression.py run=<run folder>`, half an hour; an hour without a run.

A resnet18 with the stem for small pictures, trained on the real Fashion-MNIST (`recipe=fashion_mnist_resnet18`), is
pruned to half of its channels and fine-tuned, and fine-tuned for int8; each of the three becomes a bundle with an int8
model beside the one in 32 bits. All of it with the commands that a user types. Then the model files are timed in
turns, one thread, batch 1 and 8, and asked about all 10,000 test pictures. Prints a table against the resnet18 in 32
bits, and whether the bars are kept.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.export.latency import Latency, Timed, latencies
from mlstack.runs import RunFolder

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
BATCHES = (1, 8)
SECONDS = 5.0  # for each model file and batch
# What fine-tunes, besides `init_from=` and what all have.
TUNED = {
    "pruned": ("recipe=prune_resnet18",),
    "int8-aware": ("recipe=quantization_aware", "trainer.limit_train_batches=0.25"),
}
ALIKE = ("data=fashion_mnist", "model=resnet18", "data.batch_size=128", "trainer.precision=bf16")
# Against the resnet18 in 32 bits, at most: size, latency at both batches, points lost on test, parameters.
BARS = {
    "resnet18 int8": {"size": 0.28, "latency": 0.35, "drop": 0.5},
    "pruned fp32": {"latency": 0.5, "drop": 1.0, "parameters": 0.3},
    "pruned int8": {"size": 0.1, "latency": 0.2, "drop": 1.5},
}


@dataclass(frozen=True)
class Measured:
    """One model file: bytes, share of test pictures that are right, parameters, latency by batch."""

    size: int
    accuracy: float
    parameters: int
    latency: dict[int, Latency]

    def against(self, base: Measured) -> dict[str, float]:
        """Ratios to another model file, and the points lost on test; latency is the worse of the batches."""
        return {
            "size": self.size / base.size,
            "latency": max(self.latency[batch].p50 / base.latency[batch].p50 for batch in BATCHES),
            "drop": 100 * (base.accuracy - self.accuracy),
            "parameters": self.parameters / base.parameters,
        }


def main() -> None:
    """Train what is missing, export, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", nargs="?", default=None, help="run=<folder> of a resnet18 on Fashion-MNIST")
    parser.add_argument("--keep", type=Path, help="folder for the runs; a temporary one otherwise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        given = Path(arguments.run.removeprefix("run=")) if arguments.run else None
        runs = {"resnet18": given or train(folder / "resnet18", "recipe=fashion_mnist_resnet18")}
        for name, recipe in TUNED.items():
            runs[name] = train(folder / name, *recipe, *ALIKE, f"init_from={runs['resnet18']}")
        report(measure({name: export(run, folder / f"{name}_bundle") for name, run in runs.items()}))


def train(folder: Path, *words: str) -> Path:
    """The folder of a finished run; one that an interrupted benchmark left behind is taken as it is."""
    if not list(folder.glob("*/*/results.json")):
        call("train.py", *words, f"output_dir={folder}", "trainer.progress_bar=false", "tracker=none")
    (results,) = folder.glob("*/*/results.json")
    return results.parent


def export(run: Path, bundle: Path) -> tuple[Bundle, int]:
    """A bundle with an int8 model in it, and the parameters of its network."""
    # The bar on int8 is a finding here and not a condition: the drop is printed, whatever it is.
    call("export.py", f"run={run}", f"output={bundle}", "quantize.mode=int8", "quantize.max_drop=100")
    return read_bundle(bundle), int(RunFolder(run).read_results()["parameters"])


def call(script: str, *words: str) -> None:
    """Run a script, its output left on the terminal."""
    print(f"$ python scripts/{script} {' '.join(words)}", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    done = subprocess.run([sys.executable, str(SCRIPTS / script), *words], env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def measure(bundles: dict[str, tuple[Bundle, int]]) -> dict[str, Measured]:
    """Every model file of every bundle, in turns."""
    files = {
        f"{name} {model.precision}": (bundle, model, parameters)
        for name, (bundle, parameters) in bundles.items()
        for model in bundle.metadata.models
    }
    times: dict[str, dict[int, Latency]] = {name: {} for name in files}
    for batch in BATCHES:
        images = {
            name: read_reference(bundle.path / REFERENCE, bundle.metadata).golden_images[:batch]
            for name, (bundle, _, _) in files.items()
        }
        timed = [Timed(bundle.path / model.file, images[name]) for name, (bundle, model, _) in files.items()]
        for name, found in zip(files, latencies(timed, seconds=SECONDS), strict=True):
            times[name][batch] = found
    return {
        name: Measured(model.bytes, model.metrics["test"]["accuracy"], parameters, times[name])
        for name, (_, model, parameters) in files.items()
    }


def report(found: dict[str, Measured]) -> None:
    """A row for each model file, and a line for each bar."""
    base = found["resnet18 fp32"]
    print(f"\n{'':<18}{'size MB':>9}{'':>8}{'ms, batch 1':>13}{'':>8}{'batch 8':>10}{'':>8}{'on test':>10}{'lost':>8}")
    for name, row in found.items():
        ratios = row.against(base)
        cells = f"{name:<18}{row.size / 1e6:>9.2f}{ratios['size']:>7.3f}×"
        for batch, width in zip(BATCHES, (13, 10), strict=True):
            time = row.latency[batch].p50
            cells += f"{time:>{width}.2f}{time / base.latency[batch].p50:>7.3f}×"
        print(f"{cells}{row.accuracy:>10.2%}{ratios['drop']:>8.2f}")
    print()
    for name, bars in BARS.items():
        ratios = found[name].against(base)
        for what, bar in bars.items():
            verdict = "ok" if ratios[what] <= bar else "short"
            print(f"{name:<14} {what:<11}{ratios[what]:>7.3f}, at most {bar:g}: {verdict}")


if __name__ == "__main__":
    main()
