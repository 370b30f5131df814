"""Whether a bundle's model files still answer as they did when it was written, on another machine perhaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.folder import Bundle
from mlstack.bundle.metadata import Metadata, ModelFile
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.bundle.session import Session
from mlstack.errors import BundleError

# Greatest difference from model.onnx's golden outputs, relative to the largest of them. In 32 bits processors differ in
# the order of additions (1e-6); in 8 bits rounding moves a probability by some hundredths.
ALLOWED = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.25, "int8_dynamic": 0.25}
MARGIN = 2.0  # times the difference that was measured at export, where that is more
MEASURED = "golden_error"  # in a model's details: that difference


@dataclass(frozen=True)
class AnswerCheck:
    """What a model file answers for the golden pictures, against what model.onnx answered at export.

    Attributes:
        model: The file.
        error: Greatest difference, relative to the largest golden output.
        allowed: How much it may be.
        same: Pictures with the same class, or the same labels; None of a regression.
        pictures: Golden pictures.
    """

    model: ModelFile
    error: float
    allowed: float
    same: int | None
    pictures: int

    @property
    def passed(self) -> bool:
        return self.error <= self.allowed  # False of NaN


def check_answers(bundle: Bundle) -> tuple[AnswerCheck, ...]:
    """Run the golden pictures through each model file.

    Raises:
        BundleError: reference.npz or a model file can't be used, or doesn't fit the metadata; the line names it.
        MissingPackageError: onnxruntime is not installed.
    """
    metadata = bundle.metadata
    reference = read_reference(bundle.path / REFERENCE, metadata)
    checks = []
    for model in metadata.models:
        session = Session(bundle.path / model.file)
        check_fit(session, metadata)
        output = session.run(reference.golden_images).output
        if output.shape != reference.golden_outputs.shape:
            wanted = list(reference.golden_outputs.shape)
            raise BundleError(f"{session.path} answers {list(output.shape)}, expected {wanted}")
        checks.append(
            AnswerCheck(
                model=model,
                error=relative_error(output, reference.golden_outputs),
                allowed=allowed_error(model),
                same=_same(output, reference.golden_outputs, metadata.task),
                pictures=len(output),
            )
        )
    return tuple(checks)


def check_fit(session: Session, metadata: Metadata) -> None:
    """Refuse a model file that takes or answers something else than its bundle says.

    Raises:
        BundleError: The line names the file.
    """
    wanted = (metadata.input.height, metadata.input.width, metadata.input.channels)
    for size, expected in zip(session.shape, wanted, strict=True):
        if size not in (None, expected):
            raise BundleError(f"{session.path} takes pictures {list(session.shape)}, metadata.json says {list(wanted)}")
    if session.batch != metadata.batch:
        raise BundleError(f"{session.path} takes batches of {session.batch}, metadata.json says {metadata.batch}")
    if session.output != metadata.output:
        raise BundleError(f"{session.path} answers {session.output}, metadata.json says {metadata.output}")


def relative_error(output: NDArray[np.float32], golden: NDArray[np.float32]) -> float:
    """Greatest difference of two arrays of the same shape, relative to the largest golden value; NaN where one is."""
    scale = float(np.abs(golden).max())
    return float(np.abs(output - golden).max()) / (scale or 1.0)


def allowed_error(model: ModelFile) -> float:
    """How far a model file's golden answers may be from those of its export, relative to the largest of them."""
    measured = model.details.get(MEASURED)
    known = float(measured) if isinstance(measured, int | float) else 0.0
    return max(ALLOWED[model.precision], MARGIN * known)


def _same(output: NDArray[np.float32], golden: NDArray[np.float32], task: str) -> int | None:
    if task == "regression":
        return None
    if task == "multilabel":
        return int(((output > 0.5) == (golden > 0.5)).all(axis=1).sum())
    return int((output.argmax(axis=1) == golden.argmax(axis=1)).sum())
