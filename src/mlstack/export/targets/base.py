"""What every target is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.folder import Bundle
from mlstack.bundle.session import Session, SessionAnswers
from mlstack.config.export import ExportConfig
from mlstack.errors import ConfigError
from mlstack.export.latency import time_in_turns
from mlstack.runs import RunFolder

AT_A_TIME = 32  # pictures: a thousand of 224 pixels in one call would take gigabytes
SECONDS = 1.0  # that a latency is measured for

# uint8 [n, height, width, channel] → float32 [n, answer], float32 [n, feature]
Runtime = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Request:
    """What to convert.

    Attributes:
        bundle: What the target has to answer like.
        run: The run that it came from; None of an ONNX file.
        images: uint8 [n, height, width, channel], the pictures to compare on.
        config: Of the command.
        folder: Where files go; it is moved to its place if the comparison ends well.
    """

    bundle: Bundle
    run: RunFolder | None
    images: NDArray[np.uint8]
    config: ExportConfig
    folder: Path


@dataclass(frozen=True)
class Model:
    """One model file that a target wrote, and what it answered.

    Attributes:
        file: Its name in the folder; of a package, the package's.
        like: Precision of the bundle's file that it is compared with.
        answers: For the request's pictures; None where its runtime can't run here.
        milliseconds: Median time of one picture, on one thread.
        bundle_milliseconds: That of the bundle's file through ONNX Runtime, measured in turns with it; None where the
            two ran in different processes.
        how: How it was run, in a few words.
        binding: Whether nothing is written when the answers differ too much; False = they are only told.
    """

    file: str
    like: str = "fp32"
    answers: SessionAnswers | None = None
    milliseconds: float | None = None
    bundle_milliseconds: float | None = None
    how: str = ""
    binding: bool = True


@dataclass(frozen=True)
class Converted:
    """What a target came to.

    Attributes:
        models: Each file, the most important one first.
        versions: Of the packages that took part.
        checked: What else was found to be right, in words.
        unchecked: What nobody knows yet, in words.
    """

    models: tuple[Model, ...]
    versions: Mapping[str, str]
    checked: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


class Target(Protocol):
    """A module of this folder, one a target."""

    def check(self, run: RunFolder | None) -> None:
        """Refuse what can't work here; see `targets.check`."""
        ...

    def convert(self, request: Request) -> Converted:
        """Write the files into the request's folder and run them on its pictures; see `targets.convert`."""
        ...


def needs_run(run: RunFolder | None, target: str) -> RunFolder:
    """The run, for a target that can't start from an ONNX file.

    Raises:
        ConfigError: There is none.
    """
    if run is None:
        raise ConfigError(
            f"target={target} starts from a run's network, and onnx= gives none",
            key="target",
            hint="from an ONNX file: target=openvino, target=tensorrt or target=triton",
        )
    return run


def ran(runtime: Runtime, request: Request, *, file: str, how: str, like: str = "fp32", binding: bool = True) -> Model:
    """Ask a runtime of this process about the request's pictures, and take its time beside the bundle's file."""
    answers = _ask(runtime, request.images, request.bundle.metadata.batch or AT_A_TIME)
    some = request.images[: request.bundle.metadata.batch or 1]
    session = Session(request.bundle.model(like))
    own, other = time_in_turns(
        [lambda: runtime(some), lambda: session.run(some)], images=[len(some), len(some)], seconds=SECONDS
    )
    return Model(
        file=file,
        like=like,
        answers=answers,
        milliseconds=own.p50 / len(some),
        bundle_milliseconds=other.p50 / len(some),
        how=how,
        binding=binding,
    )


def bundle_answers(bundle: Bundle, precision: str, images: NDArray[np.uint8]) -> SessionAnswers:
    """What one of the bundle's own files answers."""
    session = Session(bundle.model(precision))

    def asked(some: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        answers = session.run(some)
        return answers.output, answers.features

    return _ask(asked, images, bundle.metadata.batch or AT_A_TIME)


def _ask(runtime: Runtime, images: NDArray[np.uint8], batch: int) -> SessionAnswers:
    """Answers for all pictures, `batch` at a time; the last call is filled up with black ones."""
    missing = -len(images) % batch
    padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)]) if missing else images
    parts = [runtime(padded[start : start + batch]) for start in range(0, len(padded), batch)]
    output, features = (np.concatenate(part)[: len(images)] for part in zip(*parts, strict=True))
    return SessionAnswers(output=output, features=features)
