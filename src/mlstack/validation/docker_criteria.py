"""What stage 2 measured, as figures, and what of it has to keep a limit."""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlstack.utils.hardware import usable_cores
from mlstack.validation.container_samples import busiest, peak_memory
from mlstack.validation.report import Criterion, judge, not_checked
from mlstack.validation.serving_container import ContainerService
from mlstack.validation.training_container import ContainerTraining

if TYPE_CHECKING:
    from mlstack.config.commands import ValidateConfig

SIZE_NOTE = "the image that serves; the one that trains holds the frameworks and is many times as large: see below"


def measured_training(training: ContainerTraining, config: ValidateConfig) -> dict[str, Any]:
    """Figures of the training; None for what it did not get to."""
    results = training.results
    granted = config.docker.cpus or float(usable_cores())
    seconds = results.get("train_seconds")
    own = results.get("cores_busy")
    cores = busiest(training.samples, seconds) if seconds else None
    if cores is None:  # too short a run for readings: it has counted itself, workers apart
        cores = own
    peaks = [peak_memory(training.samples), results.get("peak_memory_mb")]
    return {
        "images_per_second": results.get("images_per_second"),
        "epoch_seconds": training.epoch_seconds,
        "training_seconds": training.seconds,
        "cpu_share": None if cores is None else cores / granted,
        "peak_memory_mb": max((peak for peak in peaks if peak is not None), default=None),
        "accuracy": (results.get("metrics") or {}).get("test", {}).get("accuracy"),
        "granted_cores": granted,
        "cpu_share_by_itself": None if own is None else own / granted,
        "load_average": os.getloadavg()[0],
        "checkpoints": list(training.checkpoints),
        "training_log": str(training.log),
    }


def measured_service(service: ContainerService) -> dict[str, Any]:
    """Figures of the service."""
    ordered = sorted(service.latencies_ms)
    return {
        "start_seconds": service.start_seconds,
        "starts_seconds": list(service.starts_seconds),
        "latency_ms": service.latency_ms,
        "latency_model_ms": statistics.median(service.model_ms),
        "latency_p95_ms": ordered[int(0.95 * (len(ordered) - 1))],
        "serve_memory_mb": service.memory_mb,
    }


def of_this_commit(target: str, revision: str, commit: str) -> Criterion:
    """That an image was built from the commit that the report names; one that does not tell can't be judged."""
    name = f"commit of the {target} image"
    if not commit or revision in ("", "unknown", "<no value>"):
        return not_checked(name, "is", commit[:12], reason="the image, or this folder, does not tell its commit")
    return judge(name, revision[:12], "is", commit[:12], mend="build it anew: docker.build=true, or make image-cpu")


def what_is_inside(inside: dict[str, dict[str, Any]]) -> list[Criterion]:
    """That no image finds a GPU, that frameworks can be imported, and that the serve image has no CUDA library."""
    criteria = []
    for target, found in inside.items():
        seen = [*found["devices"], *(f"{name} sees a GPU" for name in found["frameworks_with_gpu"])]
        mend = "run it without --gpus and without devices"
        criteria.append(judge(f"GPU in the {target} image", ", ".join(seen) or "none", "is", "none", mend=mend))
    broken = "; ".join(f"{name}: {reason}" for name, reason in inside["train"]["broken_frameworks"].items())
    mend = "a system library is missing in the image"
    criteria.append(judge("frameworks in the train image", broken or "importable", "is", "importable", mend=mend))
    libraries = ", ".join(inside["serve"]["cuda_libraries"]) or "none"
    mend = "requirements-serve.txt names no package that brings them"
    return [*criteria, judge("CUDA libraries in the serve image", libraries, "is", "none", mend=mend)]


def training_criteria(
    training: ContainerTraining, measured: dict[str, Any], config: ValidateConfig
) -> list[Criterion]:  # fmt: skip
    """What training in a container has to keep."""
    limits = config.docker
    epoch = None if training.epoch_seconds is None else training.epoch_seconds / 60
    see = f"what it said: {training.log}"
    busy = "other processes take the processor, or the pictures come too slowly: data.num_workers"
    return [
        judge(f"training with {limits.memory} of memory", training.outcome, "is", "finished", mend=see),
        judge("memory of the training", measured["peak_memory_mb"], "at_most", limits.max_memory_mb, unit="MiB",
              mend="a smaller data.batch_size or model"),
        judge("use of the granted cores", measured["cpu_share"], "at_least", limits.min_cpu_share, mend=busy),
        judge("epoch", epoch, "at_most", limits.max_epoch_minutes, unit="minutes", mend="a smaller model"),
        judge("checkpoint", "written" if training.checkpoints else "none", "is", "written", mend=see),
    ]  # fmt: skip


def service_criteria(
    service: ContainerService, measured: dict[str, Any], config: ValidateConfig, *, pictures: int
) -> list[Criterion]:
    """What serving from a container has to keep."""
    limits = config.docker
    size = judge("serve image", measured["serve_image_mb"], "at_most", limits.max_serve_image_mb, unit="MB")
    answered = f"{len(service.predictions)} of {pictures}"
    memory = service.memory_mb
    return [
        replace(size, note=SIZE_NOTE),
        judge("start of the service, to the first answer", service.start_seconds, "at_most", limits.max_start_seconds,
              unit="seconds", mend="a slow disk, or other processes that take the processor"),
        judge("memory of the service", memory, "at_most", limits.max_serve_memory_mb, unit="MiB")
        if memory is not None
        else not_checked("memory of the service", "at_most", limits.max_serve_memory_mb, unit="MiB",
                         reason="the engine tells no figures of containers (rootless, cgroup version 1)"),
        judge("pictures answered", answered, "is", f"{pictures} of {pictures}"),
    ]  # fmt: skip
