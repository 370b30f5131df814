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


@dataclass(frozen=True)
class Speeds:
    """Seconds for one picture by itself, and for one in a batch of `together`."""

    alone_s: float
    together_s: float
    together: int


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
    speeds = _check_answers(session, bundle, model)
    max_batch = session.batch or settings.max_batch or _fastest_batch(session, speeds)
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


def _check_answers(session: Session, bundle: Bundle, model: ModelFile) -> Speeds:
    """Run the golden pictures, and refuse a model that answers otherwise than at export; how fast it was."""
    reference = read_reference(bundle.path / REFERENCE, bundle.metadata)
    golden = reference.golden_images
    half = (len(golden) + 1) // 2
    batches = [golden[:half], golden[half:], golden[:1], golden[:1]]
    timed = [_timed(session, batch) for batch in batches if len(batch)]
    output = np.concatenate([answer for answer, _ in timed[:-2]])
    if output.shape != reference.golden_outputs.shape:
        wanted = list(reference.golden_outputs.shape)
        raise BundleError(f"{session.path} answers {list(output.shape)}, expected {wanted}")
    error, allowed = relative_error(output, reference.golden_outputs), allowed_error(model)
    if not error <= allowed:  # NaN too
        raise BundleError(
            f"{session.path} answers otherwise than at its export: {error:.2g} off, allowed {allowed:.2g}",
            hint="look at each model file: python scripts/verify_bundle.py bundle=<folder>",
        )
    # A size's first call takes memory besides: the second one is what counts.
    return Speeds(alone_s=timed[-1][1], together_s=timed[-3][1] / max(1, len(golden) - half), together=half)


def _timed(session: Session, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """The output for some pictures, and the seconds that it took: of the processor, which neighbours don't disturb."""
    clock = time.thread_time if session.provider == CPU and session.threads == 1 else time.perf_counter
    started = clock()
    output = session.run(images).output
    return output, clock() - started


def _fastest_batch(session: Session, speeds: Speeds) -> int:
    """Most images of a batch: where a picture among others takes as long as one alone, waiting for others is no use.

    Small networks gain a quarter in batches of 8 (ResNet-18 at 28 pixels); those whose activations leave the cache
    lose as much (EfficientNet-Lite0 at 224 pixels).
    """
    if session.provider != CPU:
        return LARGEST_ON_GPU
    worth_it = speeds.together < 2 or speeds.together_s < WORTH_IT * speeds.alone_s
    return LARGEST_ON_CPU if worth_it else 1


def _warm_up(session: Session, picture: PictureInput, max_batch: int) -> None:
    """Run sizes of batches that will come, on a GPU, where the first call of one chooses kernels."""
    if session.provider == CPU:
        return
    for size in sorted({min(2**power, max_batch) for power in range(max_batch.bit_length() + 1)}):
        session.run(np.zeros((size, picture.height, picture.width, picture.channels), np.uint8))
