"""Held-out pictures as files, and what a bundle answers for each: what another place has to answer too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mlstack.bundle.answers import check_fit
from mlstack.bundle.folder import Bundle
from mlstack.bundle.session import Session
from mlstack.datasets.base import Split
from mlstack.datasets.decode import PictureRule
from mlstack.errors import OutputError
from mlstack.export.latency import latency
from mlstack.runs import write_text

PICTURES = 64
LATENCY_SECONDS = 1.0  # long enough for some hundred calls of a small model


def save_pictures(split: Split, folder: Path, *, count: int = PICTURES) -> list[Path]:
    """Write the split's first pictures as `<folder>/0000.png`, …; pictures of an earlier time are removed.

    Raises:
        OutputError: The folder can't be written.
    """
    count = min(count, len(split))
    pixels = split.images.read(np.arange(count, dtype=np.int64))
    paths = [folder / f"{index:04d}.png" for index in range(count)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
        for path, picture in zip(paths, pixels, strict=True):
            Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(path)
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
    return paths


def ask(bundle: Bundle, paths: list[Path]) -> dict[str, dict[str, Any]]:
    """What the bundle's fp32 model answers, by file name: class and probabilities, or the values of other tasks.

    Each picture is asked by itself on one thread, as a service gets them: sums come in the same order there.
    """
    metadata = bundle.metadata
    session = Session(bundle.model("fp32"))
    check_fit(session, metadata)
    rule = picture_rule(bundle)
    answers = {}
    for path in paths:
        output = session.run(rule.read_bytes(path.read_bytes())[np.newaxis]).output[0].tolist()
        named = dict(zip(metadata.classes, output, strict=True))
        if metadata.task == "classification":
            answers[path.name] = {"class": metadata.classes[int(np.argmax(output))], "probabilities": named}
        else:
            answers[path.name] = {metadata.output: named}
    return answers


def picture_rule(bundle: Bundle) -> PictureRule:
    """How a picture becomes the bundle's input."""
    picture = bundle.metadata.input
    return PictureRule((picture.height, picture.width), picture.decoded_size, picture.channels, picture.resize)


def write_predictions(answers: dict[str, dict[str, Any]], folder: Path, *, stage: str) -> str:
    """Write `<folder>/predictions.<stage>.json`; returns its name.

    Raises:
        OutputError: The folder can't be written.
    """
    name = f"predictions.{stage}.json"
    write_text(folder / name, json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    return name


def median_latency_ms(bundle: Bundle, picture: Path) -> float:
    """Median time of one picture in ONNX Runtime on one thread, in milliseconds; decoding is not in it."""
    pixels = picture_rule(bundle).read_bytes(picture.read_bytes())[np.newaxis]
    return latency(bundle.model("fp32"), pixels, seconds=LATENCY_SECONDS).p50
