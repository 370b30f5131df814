"""Precisions and memory formats: resnet50 at 224 pixels on synthetic pictures, through the engine.

`32, nothing rounded` computes in full fp32; torch's own default lets convolutions use TF32, and `tf32` matrix products
as well. Then bf16 and 16 (mixed, with a scaled loss), and bf16 with contiguous memory. Each row has images/s, the
ratio to full fp32, peak memory, and what NVML says of the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter
from gpu_parts._training import Steady, made_up, steady

# Name → precision, TF32 in convolutions and in matrix products (None = torch's default), further settings.
WAYS: dict[str, tuple[str, tuple[bool, bool] | None, tuple[str, ...]]] = {
    "32, nothing rounded": ("32", (False, False), ()),
    "32, torch's default": ("32", None, ()),
    "tf32": ("32", (True, True), ()),
    "bf16": ("bf16", None, ()),
    "16": ("16", None, ()),
    "bf16, contiguous": ("bf16", None, ("trainer.channels_last=false",)),
    "32, nothing rounded, contiguous": ("32", (False, False), ("trainer.channels_last=false",)),
}


def measure(rows: RowWriter, place: Place) -> None:
    """One row for each way."""
    batch, side = (4, 32) if place.dry else (128, 224)
    model = "small_cnn" if place.dry else "resnet50"
    dataset = made_up(place, side=side, batch=batch)
    found: dict[str, Steady] = {}
    for name, (precision, rounded, words) in WAYS.items():
        title = f"{model} at {side} px, batch {batch}: {name}"
        with rows.attempt(title):
            if precision == "16":
                place.need_gpu("a CPU has no training in 16 bits")
            if rounded is not None and any(rounded):
                place.need_gpu("TF32 is an arithmetic of GPUs")
            with tf32(rounded):
                settings = [f"model={model}", f"data.batch_size={batch}", f"trainer.precision={precision}", *words]
                found[name] = steady(place, dataset, *settings)
            add(rows, title, found, name)


def add(rows: RowWriter, title: str, found: dict[str, Steady], name: str) -> None:
    """A row, compared with the first way where that is there."""
    one, first = found[name], next(iter(WAYS))
    details, compared = one.details, {}
    if name != first and first in found:
        full = found[first]
        compared = {"ratio": one.images_per_second / full.images_per_second, "against": first}
        details = {**details, "memory_ratio": one.peak_mb / full.peak_mb}
    rows.add(title, one.images_per_second, "images/s", note=one.note, details=details, **compared)


@contextmanager
def tf32(rounded: tuple[bool, bool] | None) -> Iterator[None]:
    """Let convolutions and matrix products round to TF32 or not; None = as torch has it."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    if rounded is not None:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = rounded
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


if __name__ == "__main__":
    run_part(measure)
