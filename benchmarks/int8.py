"""int8 against 32 bits, and ONNX Runtime against PyTorch: `python benchmarks/int8.py run=<run folder>`, 5 minutes.

The run is a resnet18 with the stem for small pictures, trained on the real Fashion-MNIST by
`recipe=fashion_mnist_resnet18`; without one, such a network is trained for a moment first (10 minutes more).
`export.py` makes it a bundle with an int8 model. Both files and PyTorch, eager and channels_last, answer in turns, one
thread, batch 1 and 8; what counts is the CPU time of a call. Accuracy is that of all 10,000 test pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from compression import call
from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.bundle.session import Session
from mlstack.export.latency import Latency, time_in_turns
from mlstack.models.pytorch import build_classifier
from mlstack.runs import RunFolder

BATCHES = (1, 8)
SECONDS = 10.0  # for each contender and batch
A_MOMENT = ("recipe=fashion_mnist_resnet18", "trainer.max_epochs=1", "trainer.limit_train_batches=120")
BARS = {"int8 latency": 0.35, "int8 size": 0.28, "int8 drop, points": 0.5, "fp32 against PyTorch, batch 1": 0.6}


def main() -> None:
    """Train where no run is given, export, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", nargs="?", default=None, help="run=<folder> of a resnet18 on Fashion-MNIST")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = Path(arguments.run.removeprefix("run=")) if arguments.run else train(folder / "runs")
        # The budget is a finding here and not a condition: the drop is printed, whatever it is.
        call("export.py", f"run={run}", f"output={folder / 'bundle'}", "quantize.mode=int8", "quantize.max_drop=100")
        bundle = read_bundle(folder / "bundle")
        report(bundle, {batch: in_turns(bundle, run, batch) for batch in BATCHES})


def train(folder: Path) -> Path:
    """The folder of a run that was trained for a moment."""
    call("train.py", *A_MOMENT, f"output_dir={folder}", "trainer.progress_bar=false", "tracker=none")
    (results,) = folder.glob("*/*/results.json")
    return results.parent


def in_turns(bundle: Bundle, run: Path, batch: int) -> dict[str, Latency]:
    """Times of PyTorch and of both files, for the same pictures."""
    images = read_reference(bundle.path / REFERENCE, bundle.metadata).golden_images[:batch]
    settings = RunFolder(run).read_config()
    network = build_classifier(settings.model, settings.data).eval()  # untrained: as fast as a trained one
    pixels = torch.from_numpy(images.copy())

    def pytorch() -> None:
        with torch.inference_mode():
            network(pixels).softmax(dim=1)

    calls: dict[str, Callable[[], object]] = {"PyTorch": pytorch}
    for model in bundle.metadata.models:
        calls[model.precision] = partial(Session(bundle.path / model.file).run, images)
    times = time_in_turns(list(calls.values()), images=[batch] * len(calls), seconds=SECONDS)
    return dict(zip(calls, times, strict=True))


def report(bundle: Bundle, times: dict[int, dict[str, Latency]]) -> None:
    """A row for each contender, and a line for each bar."""
    models = {model.precision: model for model in bundle.metadata.models}
    print(f"\n{'CPU ms of a call':<18}" + "".join(f"{f'batch {batch}':>10}{'':>8}" for batch in BATCHES), end="")
    print(f"{'MB':>8}{'on test':>10}")
    for name in times[BATCHES[0]]:
        cells = [f"{times[batch][name].cpu:>10.2f}{ratio(times[batch], name, 'fp32'):>7.3f}×" for batch in BATCHES]
        model = models.get(name)
        tail = f"{model.bytes / 1e6:>8.2f}{model.metrics['test']['accuracy']:>10.2%}" if model else ""
        print(f"{name:<18}{''.join(cells)}{tail}")
    accuracy = {name: model.metrics["test"]["accuracy"] for name, model in models.items()}
    reached = {
        "int8 latency": max(ratio(times[batch], "int8", "fp32") for batch in BATCHES),
        "int8 size": models["int8"].bytes / models["fp32"].bytes,
        "int8 drop, points": 100 * (accuracy["fp32"] - accuracy["int8"]),
        "fp32 against PyTorch, batch 1": ratio(times[1], "fp32", "PyTorch"),
    }
    print()
    for what, bar in BARS.items():
        print(f"{what:<30}{reached[what]:>7.3f}, at most {bar:g}: {'ok' if reached[what] <= bar else 'short'}")


def ratio(times: dict[str, Latency], name: str, reference: str) -> float:
    """How many times as long as the reference a call takes."""
    return times[name].cpu / times[reference].cpu


if __name__ == "__main__":
    main()
