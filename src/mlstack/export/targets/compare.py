"""How near another runtime's answers have to be to those of the bundle's file of the same precision."""

from __future__ import annotations

import numpy as np

from mlstack.bundle.answers import ALLOWED
from mlstack.bundle.session import SessionAnswers
from mlstack.errors import ExportError
from mlstack.export.parity import Parity, compare

EXACT = "fp32"


def compared(answers: SessionAnswers, expected: SessionAnswers, *, task: str) -> Parity:
    """Compare answers with the bundle's for the same pictures.

    Raises:
        ExportError: They have another shape, or are no numbers.
    """
    for name in ("output", "features"):
        mine, theirs = getattr(answers, name), getattr(expected, name)
        if mine.shape != theirs.shape:
            raise ExportError(f"its {name} came out as {list(mine.shape)} numbers, and the bundle's has {theirs.shape}")
        if not np.isfinite(mine).all():
            raise ExportError(f"its {name} came out infinite, or as no number at all (NaN)")
    return compare(expected.output, expected.features, answers.output, answers.features, task=task)


def failure(parity: Parity, precision: str, *, max_error: float) -> str | None:
    """What is wrong with a file of a precision, in one line; None where its answers are near enough.

    In 8 and 16 bits two runtimes round features differently on their way: only the outputs count there.
    """
    if precision == EXACT:
        return parity.failure(max_error)
    if not parity.output_error <= ALLOWED[precision]:  # not >: NaN is no agreement
        return f"relative error {parity.output_error:.2g} in its answers, allowed {ALLOWED[precision]:g}"
    return None
