"""A bundle with everything that one can hold, for tests of the bundle itself; its models are of `tiny_bundles`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from tiny_bundles import make_model

from mlstack.bundle.folder import seal, write_bundle
from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput
from mlstack.bundle.reference import Reference, light_of, write_reference
from mlstack.bundle.session import Session

SIZE, CLASSES, FEATURES = 8, ("bright", "left", "right"), 4
NAMES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}


def metadata(**changes: Any) -> Metadata:
    """What a new bundle says of itself before it is sealed; `changes` are fields."""
    first = Metadata(
        name="tiny",
        version="v1",
        created_at="2026-11-02T10:00:00+00:00",
        task="classification",
        input=PictureInput(SIZE, SIZE, 1, "crop", SIZE),
        output="probabilities",
        classes=CLASSES,
        features=FEATURES,
        batch=None,
        models=(ModelFile("model.onnx", "fp32", 0, {"val": {"accuracy": 0.9, "roc_auc": float("nan")}}, {}),),
        default="fp32",
        temperature=1.5,
        calibration={"error_before": 0.1, "error_after": 0.02},
        parity={"images": 1000, "relative_error": np.float32(1e-6)},
        data={"name": "squares", "fingerprint": "abc", "images": 10},
        source={"engine": None, "run": Path("outputs/run")},
        versions={"onnxruntime": "1.31.1"},
        files={},
    )
    return replace(first, **changes)


def pictures(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Noise, uint8 [count, 8, 8, 1]."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 1), np.uint8)


def reference_of(model: Path, count: int = 20) -> Reference:
    """What a model answers for some noise."""
    images = pictures(count)
    answers, (brightness, contrast) = Session(model).run(images), light_of(images)
    return Reference(
        golden_images=images[:8],
        golden_outputs=answers.output[:8],
        outputs=answers.output,
        features=answers.features.astype(np.float16),
        brightness=brightness,
        contrast=contrast,
        labels=np.arange(count) % len(CLASSES),
    )


def disturb(model: Path, output: Path, *, noise: float) -> None:
    """The same network with noise in its weights, as a share of each."""
    network = onnx.load(model)
    draw = np.random.default_rng(0)
    for tensor in network.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim > 1:
            changed = weights * (1 + noise * draw.normal(size=weights.shape))
            tensor.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), tensor.name))
    onnx.save(network, output)


def write_whole_bundle(folder: Path, *, int8_noise: float | None = None, seed: int = 0, **changes: Any) -> Path:
    """A bundle with a card, a figure, and where `int8_noise` is given a second model; `changes` are its metadata's."""
    with write_bundle(folder) as staging:
        network = {key: changes[key] for key in ("batch", "task") if key in changes}
        model = make_model(staging / NAMES["fp32"], classes=len(CLASSES), seed=seed, **network)
        if int8_noise is not None:
            disturb(model, staging / NAMES["int8"], noise=int8_noise)
        write_reference(staging / "reference.npz", reference_of(model))
        (staging / "README.md").write_text("# tiny\n", encoding="utf-8")
        (staging / "figures").mkdir()
        (staging / "figures" / "dot.png").write_bytes(b"\x89PNG")
        there = [precision for precision, name in NAMES.items() if (staging / name).exists()]
        models = tuple(ModelFile(NAMES[precision], precision, 0, {}, {}) for precision in there)
        seal(staging, metadata(**{"models": models, **changes}))
    return folder
