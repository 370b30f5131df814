"""A bundle that is loaded, warm, and known to answer as it did when it was written."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.answers import allowed_error, check_fit, relative_error
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
LARGEST_ON_CPU, LARGEST_ON_GPU = 8, 32  # images of a batch, where nobody says otherwise
WORTH_IT = 0.95  # time of a picture in a batch, relative to one alone, below which batches are made
TRIED = 4  # pictures of a batch that is timed
TRIAL_S = 0.02  # of the processor, in which the two are timed again and again: a single time may be half too long


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
    golden = _check_answers(session, bundle, model)
    max_batch = session.batch or settings.max_batch or _fastest_batch(session, golden)
    _warm_up(session, metadata.input, max_batch)
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


def _check_answers(session: Session, bundle: Bundle, model: ModelFile) -> NDArray[np.uint8]:
    """Run the golden pictures, and refuse a model that answers otherwise than at export. Returns the pictures."""
    reference = read_reference(bundle.path / REFERENCE, bundle.metadata)
    golden = reference.golden_images
    batches = [golden[start : start + TRIED] for start in range(0, len(golden), TRIED)]
    output = np.concatenate([session.run(batch).output for batch in batches])
    if output.shape != reference.golden_outputs.shape:
        wanted = list(reference.golden_outputs.shape)
        raise BundleError(f"{session.path} answers {list(output.shape)}, expected {wanted}")
    error, allowed = relative_error(output, reference.golden_outputs), allowed_error(model)
    if not error <= allowed:  # NaN too
        raise BundleError(
            f"{session.path} answers otherwise than at its export: {error:.2g} off, allowed {allowed:.2g}",
            hint="look at each model file: python scripts/verify_bundle.py bundle=<folder>",
        )
    return golden


def _fastest_batch(session: Session, golden: NDArray[np.uint8]) -> int:
    """Most images of a batch: where a picture among others takes as long as one alone, waiting for others is no use.

    Small networks gain in batches: ResNet-18 at 28 pixels a fifth, MobileNetV3 small at 224 a third, ResNet-18 with
    ImageNet's first layers at 32 pixels nearly half. Those whose activations leave the cache lose (EfficientNet-Lite0
    at 224 pixels in int8 a tenth).
    """
    if session.provider != CPU:
        return LARGEST_ON_GPU
    alone, together = golden[:1], np.resize(golden, (TRIED, *golden.shape[1:]))
    _timed(session, alone)  # a size's first call takes memory besides; that of a batch was the check
    alone_s, together_s = _timed(session, alone), _timed(session, together)
    spent = alone_s + together_s
    while spent < TRIAL_S:
        times = _timed(session, alone), _timed(session, together)
        alone_s, together_s = min(alone_s, times[0]), min(together_s, times[1])
        spent += sum(times)
    return LARGEST_ON_CPU if together_s / TRIED < WORTH_IT * alone_s else 1


def _timed(session: Session, images: NDArray[np.uint8]) -> float:
    """Seconds that some pictures take: of the processor, which neighbours don't disturb."""
    clock = time.thread_time if session.threads == 1 else time.perf_counter
    started = clock()
    session.run(images)
    return clock() - started


def _warm_up(session: Session, picture: PictureInput, max_batch: int) -> None:
    """Run sizes of batches that will come, on a GPU, where the first call of one chooses kernels."""
    if session.provider == CPU:
        return
    for size in sorted({min(2**power, max_batch) for power in range(max_batch.bit_length() + 1)}):
        session.run(np.zeros((size, picture.height, picture.width, picture.channels), np.uint8))
