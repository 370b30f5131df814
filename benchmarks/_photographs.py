"""Made-up photographs: JPEGs of quality 90 with a photograph's spectrum, about 50 kB each."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SCALES = ((2, 60), (5, 40), (12, 30), (30, 20), (80, 14), (180, 8))  # cells over the height, and strength


def make_photographs(folder: Path, count: int, held_out: int = 16) -> None:
    """Write `photograph_files` below a folder."""
    for name, content in photograph_files(count, held_out):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def photograph_files(count: int, held_out: int = 16) -> Iterator[tuple[str, bytes]]:
    """Names and contents: `count` below train/, `held_out` more below val/ and test/, in four classes."""
    for index in range(count + held_out):
        part = "train" if index < count else ("val", "test")[index % 2]
        yield f"{part}/class{index // 2 % 4}/{index}.jpg", photograph(index)


def photograph(seed: int, *, height: int = 375, width: int = 500) -> bytes:
    """One made-up picture: smooth noise of many scales, correlated between colours."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 120.0)
    for cells, strength in SCALES:
        noise = random.standard_normal((cells, cells * 4 // 3 + 1, 3)).astype(np.float32)
        noise = 0.4 * noise + 0.8 * noise.mean(axis=2, keepdims=True)
        layers = [Image.fromarray(noise[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)]
        picture += strength * np.stack([np.asarray(layer) for layer in layers], axis=-1)
    output = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(output, "JPEG", quality=90)
    return output.getvalue()
