"""A bundle that is loaded, warm, and known to answer as it did when it was written."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mlstack.bundle.answers import ALLOWED, MARGIN, MEASURED, check_fit, relative_error
from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput, told_apart
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.bundle.session import Session, runtime
from mlstack.config.serving import ServeSettings
from mlstack.datasets.decode import PictureRule
from mlstack.errors import BundleError, HardwareError
from mlstack.serving.lane import Lane, OnBatch, Run
from mlstack.serving.scheduler import Scheduler

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
WARM_UP_S = 0.1  # a processor is as fast at its first large batch: one that takes longer is not tried beforehand


@dataclass(eq=False)
class ServedModel:
    """A model that answers.

    Attributes:
        label: Its name in addresses and metrics.
        bundle: Where it comes from.
        rule: How an encoded picture becomes its input.
        run: It, without a queue: uint8 [n, height, width, channel] → answers. Blocks.
        lane: Its queue.
        precision: Of the model file: fp32, int8, int8_dynamic or fp16.
        provider: Where it runs, in ONNX Runtime's words: CPUExecutionProvider, CUDAExecutionProvider.
        loaded_at: When it was ready: `time.time()`.
        load_s: How long that took, in seconds.
    """

    label: str
    bundle: Bundle
    rule: PictureRule
    run: Run
    lane: Lane
    precision: str
    provider: str
    loaded_at: float
    load_s: float

    @property
    def metadata(self) -> Metadata:
        return self.bundle.metadata

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the classes, as clients see them: each comes once."""
        return tuple(told_apart(self.bundle.metadata.classes))

    @cached_property
    def shown(self) -> Metadata:
        """The bundle's metadata with those names: what the journal keeps."""
        return replace(self.bundle.metadata, classes=self.names)

    @property
    def picture(self) -> PictureInput:
        """What the model takes."""
        return self.bundle.metadata.input

    def close(self) -> None:
        """Take no more requests; those that wait get 503, those that run are answered."""
        self.lane.close()


def load_model(
    path: Path, *, label: str, settings: ServeSettings, scheduler: Scheduler, on_batch: OnBatch | None = None
) -> ServedModel:
    """Load a bundle's model file, check it, and give it a queue. Blocks, for some tenths of a second.

    Args:
        path: The bundle's folder.
        label: What the model shall be called.
        settings: `precision`, `device`, `threads` and `max_batch` are looked at.
        scheduler: Whose workers run it.
        on_batch: Told of each batch: its images, and its time in seconds.

    Raises:
        BundleError: The bundle is damaged, has no such precision, or answers otherwise than when it was written.
        HardwareError: `settings.device` is not there.
    """
    started = time.perf_counter()
    providers = providers_for(settings.device)
    bundle = read_bundle(path)
    metadata = bundle.metadata
    session = Session(bundle.model(settings.precision), threads=settings.threads, providers=providers)
    check_fit(session, metadata)
    model = next(one for one in metadata.models if one.precision == (settings.precision or metadata.default))
    image_s = _check_answers(session, bundle, model)
    max_batch = session.batch or settings.max_batch
    _warm_up(session, metadata.input, max_batch, image_s)
    picture = metadata.input
    return ServedModel(
        label=label,
        bundle=bundle,
        rule=PictureRule((picture.height, picture.width), picture.decoded_size, picture.channels, picture.resize),
        run=session.run,
        lane=scheduler.lane(session.run, max_batch=max_batch, on_batch=on_batch),
        precision=model.precision,
        provider=session.provider,
        loaded_at=time.time(),
        load_s=time.perf_counter() - started,
    )


def providers_for(device: str) -> tuple[str, ...]:
    """Where ONNX Runtime shall run a model, in the order of preference.

    Args:
        device: auto, cpu or cuda.

    Raises:
        HardwareError: CUDA is asked for, and this build of ONNX Runtime doesn't have it.
    """
    if device == "cpu":
        return (CPU,)
    if CUDA in runtime("serving a bundle").get_available_providers():
        return (CUDA, CPU)
    if device == "auto":
        return (CPU,)
    raise HardwareError(
        f"serve.device={device}: this build of ONNX Runtime does not run there",
        allowed=("auto", "cpu"),
        hint="an NVIDIA GPU needs another build: the package onnxruntime-gpu instead of onnxruntime",
    )


def _check_answers(session: Session, bundle: Bundle, model: ModelFile) -> float:
    """Run the golden pictures, and refuse a model that answers otherwise than at export; its seconds per picture."""
    reference = read_reference(bundle.path / REFERENCE, bundle.metadata)
    started = time.perf_counter()
    output = session.run(reference.golden_images).output
    seconds = time.perf_counter() - started
    if output.shape != reference.golden_outputs.shape:
        wanted = list(reference.golden_outputs.shape)
        raise BundleError(f"{session.path} answers {list(output.shape)}, expected {wanted}")
    error, allowed = relative_error(output, reference.golden_outputs), _allowed(model)
    if not error <= allowed:  # NaN too
        raise BundleError(
            f"{session.path} answers otherwise than at its export: {error:.2g} off, allowed {allowed:.2g}",
            hint="see what validate.py says about it: python scripts/verify_bundle.py bundle=<folder>",
        )
    return seconds / len(output)


def _allowed(model: ModelFile) -> float:
    measured = model.details.get(MEASURED)
    return max(ALLOWED[model.precision], MARGIN * float(measured) if isinstance(measured, int | float) else 0.0)


def _warm_up(session: Session, picture: PictureInput, max_batch: int, image_s: float) -> None:
    """Run sizes of batches that will come: the first call of one costs memory, and on a GPU a choice of kernels."""
    if session.provider == CPU:
        sizes = [size for size in (1, max_batch) if size == 1 or size * image_s <= WARM_UP_S]
    else:
        sizes = [*(2**power for power in range(max_batch.bit_length()) if 2**power < max_batch), max_batch]
    for size in sizes:
        session.run(np.zeros((size, picture.height, picture.width, picture.channels), np.uint8))
