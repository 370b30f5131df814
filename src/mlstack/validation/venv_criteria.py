"""What stage 1 makes of its measurements: flat figures, and the criteria that judge them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlstack.bundle.folder import Bundle
from mlstack.config.commands import ValidateConfig
from mlstack.errors import RunError
from mlstack.utils.hardware import usable_cores
from mlstack.validation import sampling
from mlstack.validation.machine import Check
from mlstack.validation.models import Outcome
from mlstack.validation.report import Criterion, judge, not_checked
from mlstack.validation.training import Trained

STAGE_MINUTES = {"quick": 5.0, "full": 30.0}
NO_GPU = "a dry run: allow_cpu=true, no GPU was looked at; run the stage on a machine with one"
BUSIER = "larger batches (venv.batch_size=256) or larger pictures (venv.image_size=64)"
LEANER = "smaller batches (venv.batch_size=32); or does another program hold memory? nvidia-smi"
QUICKER = "a smaller data set or model for this check (data=digits models=[resnet18]), or a faster device"
DATA_FASTER = "in configs/data/<name>.yaml: num_workers: 4, cache: disk for image files, or less augmentation"
ROOM = "look for a full disk: python scripts/check_env.py"


@dataclass(frozen=True)
class Found:
    """What the stage measured.

    Attributes:
        check: The one-epoch training.
        real: Trainings on the data set.
        synthetic: The same on synthetic pictures.
        bundle: Of the first one; None where the export failed.
        export_reason: Why it failed.
        outcomes: Of every shipped model, with profile=full.
        answers: Name of the file of predictions.
        latency_ms: Of one picture, the median.
    """

    check: Trained
    real: tuple[Trained, ...]
    synthetic: tuple[Trained, ...]
    bundle: Bundle | None
    export_reason: str
    outcomes: tuple[Outcome, ...]
    answers: str | None
    latency_ms: float | None


def measurements(found: Found, *, dry_run: bool) -> dict[str, Any]:
    """The figures of the stage; the names that stage 2 uses too mean the same there."""
    check, results = found.check, found.check.results
    watched = (check, *found.real)
    busy = [share for run in found.real if (share := sampling.gpu_utilization(run.samples, run.steady)) is not None]
    full = [share for run in watched if (share := sampling.gpu_memory(run.samples)) is not None]
    cores = sampling.cores_busy(check.samples, check.spans) or results.get("cores_busy")
    return {
        "images_per_second": results["images_per_second"],
        "epoch_seconds": results["data"]["images"]["train"] / results["images_per_second"],
        "training_seconds": results["train_seconds"],
        "process_seconds": check.seconds,
        "accuracy": results.get("metrics", {}).get("test", {}).get("accuracy"),
        "peak_memory_mb": results["peak_memory_mb"],
        "peak_rss_mb": sampling.peak_rss_mb(check.samples),
        "cpu_share": None if cores is None else min(1.0, cores / usable_cores()),
        "gpu_utilization": sum(busy) / len(busy) if busy else None,
        "gpu_memory": max(full, default=None),
        **data_speed(found.real, found.synthetic, by_cpu=dry_run),
        "latency_ms": found.latency_ms,
        "models": {outcome.model: asdict(outcome) for outcome in found.outcomes},
    }


def data_speed(real: Sequence[Trained], synthetic: Sequence[Trained], *, by_cpu: bool) -> dict[str, Any]:
    """How fast training on real pictures is, relative to synthetic ones.

    The best run of each kind counts: what disturbs a run only makes it slower. On a CPU that others use too, wall time
    says little; there images are counted by the processor time of training (`by_cpu`).
    """
    unit = "images_per_cpu_second" if by_cpu else "images_per_second"
    speeds = [max((speed(run, by_cpu=by_cpu) or 0.0 for run in runs), default=0.0) for runs in (real, synthetic)]
    return {
        "data_efficiency": speeds[0] / speeds[1] if all(speeds) else None,
        f"{unit}_real": speeds[0] or None,
        f"{unit}_synthetic": speeds[1] or None,
    }


def speed(run: Trained, *, by_cpu: bool) -> float | None:
    """Training images by second, or by CPU second of the process tree, once warm; None where that is not known."""
    each_second: float = run.results["images_per_second"] * _gain(run)
    if not by_cpu:
        return each_second
    cores = sampling.cores_busy(run.samples, run.steady) or run.results.get("cores_busy")  # of the main process alone
    return each_second / cores if cores else None


def _gain(run: Trained) -> float:
    """How much faster the steady epochs are than all of them; each has as many images."""
    every, steady = ([end - start for start, end in spans] for spans in (run.spans, run.steady))
    return (sum(every) / len(every)) / (sum(steady) / len(steady)) if sum(steady) else 1.0


def criteria(
    config: ValidateConfig, measured: dict[str, Any], checks: Sequence[Check], found: Found, *, dry_run: bool
) -> tuple[Criterion, ...]:
    """The verdict, line by line."""
    limits = config.venv
    failed = [f"{check.name}: {check.finding} → {check.remedy}" for check in checks if check.status == "fail"]
    result = [
        judge("environment", "not ready" if failed else "ready", "is", "ready", mend="; ".join(failed)),
        *_gpu(config, measured, dry_run=dry_run),
        judge("one epoch", measured["process_seconds"], "at_most", limits.max_seconds, unit="s", mend=QUICKER),
        judge("checkpoint", _checkpoint(found.check), "is", "written", mend=ROOM),
        judge("data efficiency", measured["data_efficiency"], "at_least", limits.min_data_efficiency, mend=DATA_FASTER),
        judge("bundle", "verified" if found.bundle else "missing", "is", "verified", mend=found.export_reason),
    ]
    if found.outcomes:
        names = [f"{outcome.model}: {outcome.reason}" for outcome in found.outcomes if outcome.reason]
        count = len(found.outcomes)
        value, limit = f"{count - len(names)} of {count}", f"{count} of {count}"
        result.append(judge("models that train", value, "is", limit, mend="; ".join(names)))
    minutes = measured["stage_seconds"] / 60
    return (*result, judge("whole stage", minutes, "at_most", STAGE_MINUTES[config.profile], unit="min", mend=QUICKER))


def _gpu(config: ValidateConfig, measured: dict[str, Any], *, dry_run: bool) -> list[Criterion]:
    least, most = config.venv.min_gpu_utilization, config.venv.max_gpu_memory
    if dry_run:
        return [
            not_checked("GPU utilization", "at_least", least, reason=NO_GPU),
            not_checked("GPU memory", "at_most", most, reason=NO_GPU),
        ]
    return [
        judge("GPU utilization", measured["gpu_utilization"], "at_least", least, mend=BUSIER),
        judge("GPU memory", measured["gpu_memory"], "at_most", most, mend=LEANER),
    ]


def _checkpoint(check: Trained) -> str:
    try:
        return "written" if check.run.checkpoint("last").stat().st_size else "empty"
    except RunError:
        return "missing"
