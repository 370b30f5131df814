"""What a teacher is worth: `python benchmarks/distillation.py RUN_FOLDER`.

RUN_FOLDER is a finished resnet18 run on Fashion-MNIST, such as
`python scripts/train.py recipe=fashion_mnist_resnet18` makes; without
it the newest run in outputs/ is taken. recipe=distill_resnet18 trains a small_cnn with it and without it, in turns,
three seeds each, with the same steps. Prints the accuracy on test, the gap to the teacher, the sizes, and how many
times as fast as the teacher's the student's ONNX file answers for one picture, on one thread of ONNX Runtime.

A gain takes a student that is trained to its end, such as
`python benchmarks/distillation.py RUN_FOLDER model.args.width=16 trainer.max_epochs=8` (40 minutes).

Bars: the student with a teacher better than the one without; at most 1.5 points below the teacher; at most a tenth of
its parameters.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from _timing import interleave, median_ratio
from mlstack.commands.train import train
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.engines import create_engine
from mlstack.runs import RunFolder, find_run

SEEDS = (0, 1, 2)
GAP, SHARE = 1.5, 0.1  # points; of the teacher's parameters
WORDS = (
    "recipe=distill_resnet18",
    "data=fashion_mnist",
    "data.augment.flip=0",  # two epochs are too short for changed pictures to pay off
    "data.augment.crop=0",
    "trainer.max_epochs=2",
    "trainer.precision=bf16",
    "trainer.accelerator=cpu",
    "trainer.progress_bar=false",
    "tracker=none",
)
ROUNDS, ANSWERS = 21, 50  # rounds of so many answers each


def main() -> None:
    """Train in turns; print a table and the verdicts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("teacher", nargs="?", default="latest")
    parser.add_argument("words", nargs="*", help="further settings, such as model.args.width=16")
    arguments = parser.parse_args()
    teacher = find_run(arguments.teacher)
    words = arguments.words
    ways = {"without a teacher": "null", "with the teacher": str(teacher.path)}
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, list[RunFolder]] = {name: [] for name in ways}
        for seed in SEEDS:
            for name, taught_by in ways.items():
                runs[name].append(trained(*words, f"seed={seed}", f"distill.teacher={taught_by}", output_dir=folder))
                print(f"seed {seed}, {name}: {accuracy(runs[name][-1]):.2f} % on test", flush=True)
        print_verdicts(teacher, *runs.values())
        print_speed(teacher, runs["with the teacher"][0], Path(folder))


def trained(*words: str, output_dir: str) -> RunFolder:
    """Train once, in silence."""
    before = set(Path(output_dir).glob("*_*/*"))
    with contextlib.redirect_stdout(io.StringIO()):
        train(compose(Config, [*WORDS, *words, f"output_dir={output_dir}"]))
    [path] = set(Path(output_dir).glob("*_*/*")) - before
    return RunFolder(path)


def accuracy(run: RunFolder) -> float:
    """On test, in percent."""
    return 100 * float(run.read_results()["metrics"]["test"]["accuracy"])


def print_verdicts(teacher: RunFolder, alone: Sequence[RunFolder], taught: Sequence[RunFolder]) -> None:
    best = accuracy(teacher)
    print(f"\n{'teacher':<20}{best:.2f} %")
    for name, runs in (("without a teacher", alone), ("with the teacher", taught)):
        scores = [accuracy(run) for run in runs]
        seconds = statistics.mean(run.read_results()["cpu_seconds"] for run in runs)
        print(f"{name:<20}{statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f} %, {seconds:.0f} CPU s a run")
    gain = statistics.mean(accuracy(one) - accuracy(other) for one, other in zip(taught, alone, strict=True))
    gap = best - statistics.mean(accuracy(run) for run in taught)
    facts = taught[0].read_results()
    share = facts["parameters"] / facts["distill"]["teacher_parameters"]
    print(f"gain                {gain:.2f} points (bar: above 0)  {verdict(gain > 0)}")
    print(f"gap to the teacher  {gap:.2f} points (bar: {GAP})  {verdict(gap <= GAP)}")
    print(f"parameters          {facts['parameters']:,}, 1/{1 / share:.0f} (bar: 1/10)  {verdict(share <= SHARE)}")


def print_speed(teacher: RunFolder, student: RunFolder, folder: Path) -> None:
    """How many times as fast the student answers, both as ONNX."""
    runs = {"teacher": teacher, "student": student}
    sessions = {name: exported(run, folder / f"{name}.onnx") for name, run in runs.items()}
    data = teacher.read_config().data
    assert data.channels and data.image_size, "a run's settings are complete"
    pixels = {"pixels": np.zeros((1, data.channels, data.image_size, data.image_size), np.float32)}
    seconds = interleave(
        {
            name: lambda session=session: [session.run(["logits"], pixels) for _ in range(ANSWERS)]
            for name, session in sessions.items()
        },
        ROUNDS,
    )
    ratio = median_ratio(seconds["student"], seconds["teacher"])
    times = [1e3 * statistics.median(each) / ANSWERS for each in seconds.values()]
    print(f"ONNX Runtime        {ratio:.0f} × as fast: {times[1]:.3g} ms a picture against {times[0]:.3g} ms")


def exported(run: RunFolder, path: Path) -> onnxruntime.InferenceSession:
    """A run's network in ONNX Runtime, on one thread."""
    config = run.read_config()
    create_engine(config.trainer.engine).export_onnx(config, path, run=run)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def verdict(is_reached: bool) -> str:
    return "ok" if is_reached else "short"


if __name__ == "__main__":
    main()
