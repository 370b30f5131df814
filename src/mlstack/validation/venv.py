"""Stage 1: does this commit train on this machine's GPU, does the GPU have enough to do, and does a bundle come out?

One epoch is trained as a user would start it, and its run becomes a bundle. Then the same training goes on real and on
synthetic pictures in turn, long enough to be measured. Everything lands in <output_dir>/validate/.

Not run on a real GPU here: the machines that this project was written on have none. There the stage was run as a dry
run (`allow_cpu=true`), and the GPU's part was tested with a stand-in for NVML.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.config.commands import ValidateConfig
from mlstack.datasets import load_dataset
from mlstack.errors import BundleError, ConfigError, HardwareError
from mlstack.provenance import PACKAGES, git_state, provenance
from mlstack.runs import write_text
from mlstack.utils import hardware
from mlstack.validation import predictions, repeated, venv_criteria
from mlstack.validation.machine import Check
from mlstack.validation.models import Outcome, as_table, train_models
from mlstack.validation.nvml import Gpu, open_gpu
from mlstack.validation.report import StageReport
from mlstack.validation.synthetic import overrides
from mlstack.validation.training import ROOT, TRAIN_SCRIPT, Trained, reason_of, train_watched
from mlstack.validation.venv_criteria import Found

EXPORT_SCRIPT = ROOT / "scripts" / "export.py"
QUICK_MODEL = "resnet18"
# 8 × 8 pixels keep no GPU busy: launching a kernel takes longer than running it. Not measured here.
DIGITS_ON_A_GPU = {"image_size": 64, "batch_size": 256}
MEASURED_SECONDS = 15.0  # of training, in each run that only measures; NVML's figures look back for up to 1 s
MOST_EPOCHS = 100
WARM_EPOCHS = 3  # of the run that finds out how long an epoch lasts once a GPU's kernels are chosen
MOST_TIMES = 10_000  # that a set is repeated
PAIRS = 2  # of a run on real and one on synthetic pictures; 1 in a dry run, where processor time is compared
LONGEST = 1800.0  # seconds, after which a training is given up


def is_dry_run(config: ValidateConfig) -> bool:
    """Whether the stage runs without a GPU.

    Raises:
        HardwareError: There is none, and `allow_cpu` does not say that this is known.
        ConfigError: accelerator=cpu without `allow_cpu`.
    """
    if config.accelerator == "cpu" and not config.allow_cpu:
        hint = "for a dry run: allow_cpu=true"
        raise ConfigError("stage=venv looks at the GPU, accelerator=cpu leaves it out", key="accelerator", hint=hint)
    if config.accelerator == "cpu" or hardware.gpu_driver() is not None:
        return config.accelerator == "cpu"
    if config.allow_cpu:
        return True
    raise HardwareError(
        "stage=venv needs an NVIDIA GPU, and nvidia-smi finds none",
        hint="install the driver (python scripts/check_env.py says which), or run it where a GPU is\n"
        "for a dry run on the CPU, marked as such in the report: allow_cpu=true",
    )


def training_words(config: ValidateConfig, *, dry_run: bool = True) -> list[str]:
    """What scripts/train.py gets for the one-epoch training, but for device and place."""
    defaults = DIGITS_ON_A_GPU if config.data == "digits" and not dry_run else {}
    sizes = {"image_size": config.venv.image_size, "batch_size": config.venv.batch_size}
    chosen = {name: size or defaults.get(name) for name, size in sizes.items()}
    return [
        f"model={config.models[0] if config.models else QUICK_MODEL}",
        f"data={config.data}",
        f"trainer.engine={config.engine}",
        f"trainer.max_epochs={config.max_epochs}",
        *(f"data.{name}={size}" for name, size in chosen.items() if size),
    ]


def validate_venv(
    config: ValidateConfig, checks: Sequence[Check], *, dry_run: bool, script: Path = TRAIN_SCRIPT
) -> StageReport:
    """Run stage 1 and judge it; the report is not written yet.

    Args:
        config: What to train, and the limits.
        checks: What scripts/check_env.py found.
        dry_run: As `is_dry_run` says.
        script: What is run to train.

    Raises:
        MLStackError: The data can't be had, or training failed.
    """
    start = time.monotonic()
    with open_gpu() as gpu:
        check_framework(config, checks, dry_run=dry_run)
        found = _measure(config, gpu, dry_run=dry_run, script=script)
        machine = {} if gpu is None else {"gpu": gpu.name, "gpu_driver": gpu.driver, "gpu_memory_gb": gpu.total / 1e9}
    measurements = venv_criteria.measurements(found, dry_run=dry_run)
    measurements["stage_seconds"] = time.monotonic() - start
    measurements["training_words"] = training_words(config, dry_run=dry_run)
    facts, git = provenance((*PACKAGES, "onnxruntime", "onnx")), git_state()
    return StageReport(
        stage="venv",
        profile="full" if config.profile == "full" else "quick",
        commit=git.get("commit", ""),
        dirty=git.get("uncommitted_changes", False),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dry_run=dry_run,
        machine={**facts["hardware"], **machine},
        versions=facts["versions"],
        criteria=venv_criteria.criteria(config, measurements, checks, found, dry_run=dry_run),
        measurements=measurements,
        predictions=found.answers,
    )


def check_framework(config: ValidateConfig, checks: Sequence[Check], *, dry_run: bool) -> None:
    """Refuse to begin where the framework that shall train does not see the GPU.

    Raises:
        HardwareError: With what check_env says to do.
    """
    name = {"lightning": "torch", "paddle": "paddle"}[config.engine]
    for check in checks:
        if check.name == name and check.status != "ok" and not dry_run:
            raise HardwareError(f"{name}: {check.finding}", hint=check.remedy)


def _measure(config: ValidateConfig, gpu: Gpu | None, *, dry_run: bool, script: Path) -> Found:
    folder = Path(config.output_dir) / "validate"
    words = [*training_words(config, dry_run=dry_run), f"trainer.accelerator={'cpu' if dry_run else 'gpu'}"]
    clear(folder)
    print(f"training as a user does: {' '.join(words)}", flush=True)
    check = train_watched(words, folder, name="one_epoch", timeout=LONGEST, gpu=gpu, script=script)
    real, synthetic = _compare(words, check, folder, gpu, dry_run=dry_run, script=script)
    print("exporting the run, asking its bundle", flush=True)
    bundle, reason = export_run(check, folder)
    answers, latency_ms = None, None
    if bundle is not None:
        held_out = load_dataset(check.run.read_config().data).splits["test"]
        pictures = predictions.save_pictures(held_out, folder / "pictures")
        answers = predictions.write_predictions(predictions.ask(bundle, pictures), folder, stage="venv")
        latency_ms = predictions.median_latency_ms(bundle, pictures[0])
    outcomes: list[Outcome] = []
    if config.profile == "full":
        outcomes = train_models(config, folder, accelerator="cpu" if dry_run else "gpu", script=script)
        print(as_table(outcomes))
    return Found(check, tuple(real), tuple(synthetic), bundle, reason, tuple(outcomes), answers, latency_ms)


def clear(folder: Path) -> None:
    """Remove what the stage left here before: stage 2 must not serve a bundle that this commit did not make."""
    for name in ("one_epoch", "bundle", "pictures"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("venv.json", "venv.md", "predictions.venv.json"):
        (folder / name).unlink(missing_ok=True)


def _compare(
    words: list[str], check: Trained, folder: Path, gpu: Gpu | None, *, dry_run: bool, script: Path
) -> tuple[list[Trained], list[Trained]]:
    """The same training on real and on synthetic pictures, in turn, without validation; their runs are removed."""
    shared = [*words, "trainer.limit_val_batches=0", "trainer.limit_test_batches=0"]

    def measure(name: str, settings: Sequence[str]) -> Trained:
        trained = train_watched(settings, folder, name=name, timeout=LONGEST, gpu=gpu, script=script)
        shutil.rmtree(folder / name, ignore_errors=True)  # its checkpoints are of no use
        return trained

    data, counts = check.run.read_config().data, check.results["data"]["images"]
    epoch_seconds = counts["train"] / check.results["images_per_second"]
    if not dry_run and epoch_seconds < MEASURED_SECONDS / 2:
        print("measuring: how long an epoch lasts once the GPU is warm", flush=True)
        warm = measure("warm", [*shared, f"trainer.max_epochs={WARM_EPOCHS}"])
        epoch_seconds = min((end - start for start, end in warm.steady), default=epoch_seconds)
    times, settings = length(epoch_seconds, can_repeat=repeated.can_repeat(data))
    longer = {**counts, "train": times * counts["train"]}
    words_of = {"real": repeated.overrides(times), "synthetic": overrides(data, longer)}
    runs: dict[str, list[Trained]] = {kind: [] for kind in words_of}
    for pair in range(1 if dry_run else PAIRS):
        print("measuring: real pictures, synthetic pictures", flush=True)
        for kind, own in words_of.items():
            runs[kind].append(measure(f"{kind}_{pair + 1}", [*shared, *settings, *own]))
    return runs["real"], runs["synthetic"]


def length(epoch_seconds: float, *, can_repeat: bool) -> tuple[int, list[str]]:
    """How often the pictures come in an epoch, and settings for training of about `MEASURED_SECONDS`.

    Two epochs, since the first one of a process is not counted: each of a small set's pictures again and again, or of
    a part of a large set's. What can't be repeated gets more epochs instead.
    """
    each = MEASURED_SECONDS / 2
    if epoch_seconds > each:
        return 1, ["trainer.max_epochs=2", f"trainer.limit_train_batches={each / epoch_seconds:.4f}"]
    if not can_repeat:
        return 1, [f"trainer.max_epochs={max(2, min(MOST_EPOCHS, math.ceil(MEASURED_SECONDS / epoch_seconds)))}"]
    return min(MOST_TIMES, math.ceil(each / epoch_seconds)), ["trainer.max_epochs=2"]


def export_run(check: Trained, folder: Path) -> tuple[Bundle | None, str]:
    """The run as a bundle in `<folder>/bundle`, made by scripts/export.py; else None and why not."""
    command = [sys.executable, str(EXPORT_SCRIPT), f"run={check.run.path}", f"output={folder / 'bundle'}"]
    process = subprocess.run(
        command, text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=LONGEST
    )
    write_text(folder / "export.log", process.stdout + process.stderr)
    if process.returncode:
        return None, reason_of(process.stderr, process.returncode)
    try:
        return read_bundle(folder / "bundle"), ""
    except BundleError as error:
        return None, error.message
