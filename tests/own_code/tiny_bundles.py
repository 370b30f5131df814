"""Small real bundles, made of ONNX operators in a few milliseconds, without a framework."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlstack.bundle.folder import Bundle, read_bundle, seal, write_bundle
from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput
from mlstack.bundle.reference import Reference, light_of, write_reference
from mlstack.bundle.session import Session

CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def make_model(
    path: Path,
    *,
    size: int = 8,
    channels: int = 1,
    classes: int = 10,
    width: int = 4,
    batch: int | None = None,
    baked: bool = False,
    task: str = "classification",
    seed: int = 0,
) -> Path:
    """Write a network of one convolution that keeps the contract of a bundle.

    Args:
        path: The file.
        size: Height and width of the pictures.
        channels: 1 or 3.
        classes: Answers.
        width: Channels of the convolution, and features unless `baked`.
        batch: The only number of images a call takes; None = any.
        baked: Without pooling before the last layer, so that it fits pictures of this size only.
        task: Regression answers `values`, without a softmax.
        seed: Of the weights.
    """
    random = np.random.default_rng(seed)
    features = width * size * size if baked else width
    weights = {
        "kernel": random.normal(0, 0.5, (width, channels, 3, 3)),
        "head": random.normal(0, 0.5, (classes, features)),
        "scale": np.array(1 / 255),
    }
    answer, last = ("values", "Identity") if task == "regression" else ("probabilities", "Softmax")
    last = "Sigmoid" if task == "multilabel" else last
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["pixels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["pixels", "kernel"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["active"]),
        helper.make_node("Identity" if baked else "GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "head"], ["logits"], transB=1),
        helper.make_node(last, ["logits"], [answer]),
    ]
    many: int | str = "batch" if batch is None else batch
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [many, size, size, channels])],
        [
            helper.make_tensor_value_info(answer, TensorProto.FLOAT, [many, classes]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [many, features]),
        ],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def make_bundle(
    folder: Path,
    *,
    precisions: tuple[str, ...] = ("fp32",),
    default: str | None = None,
    name: str = "digits_tiny",
    version: str = "1",
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    **model: Any,
) -> Bundle:
    """Write a whole bundle: a model file for each precision (all in 32 bits, whatever it says), pictures of noise.

    Args:
        folder: Where it shall stand.
        precisions: What metadata.json calls the files; the second one is as wide as half of the first, and so on.
        default: The one that is served; None = the first.
        name: Of the model.
        version: Of the model.
        metrics: What is recorded of each file.
        **model: Arguments of `make_model`.
    """
    size, channels = model.get("size", 8), model.get("channels", 1)
    task, classes = model.get("task", "classification"), model.get("classes", 10)
    files = {"fp32": "model.onnx", "int8": "model.int8.onnx", "int8_dynamic": "model.dynamic.onnx",
             "fp16": "model.fp16.onnx"}  # fmt: skip
    with write_bundle(folder) as staging:
        for place, precision in enumerate(precisions):
            width = max(1, model.get("width", 4) >> place)
            make_model(staging / files[precision], **{**model, "width": width})
        images = np.random.default_rng(0).integers(0, 256, (16, size, size, channels), dtype=np.uint8)
        answers = Session(staging / files[precisions[0]]).run(images)
        brightness, contrast = light_of(images)
        reference = Reference(
            golden_images=images[:8],
            golden_outputs=answers.output[:8],
            outputs=answers.output,
            features=answers.features.astype(np.float16),
            brightness=brightness,
            contrast=contrast,
            labels=np.zeros(0, np.int64),
        )
        write_reference(staging / "reference.npz", reference)
        recorded = {split: dict(values) for split, values in (metrics or {}).items()}
        seal(
            staging,
            Metadata(
                name=name,
                version=version,
                created_at="2026-11-22T10:00:00+00:00",
                task=task,
                input=PictureInput(size, size, channels, "crop", size),
                output="values" if task == "regression" else "probabilities",
                classes=tuple(f"class_{number}" for number in range(classes)),
                features=answers.features.shape[1],
                batch=model.get("batch"),
                models=tuple(ModelFile(files[one], one, 0, recorded, {}) for one in precisions),
                default=default or precisions[0],
                temperature=None,
                calibration={},
                parity={},
                data={},
                source={},
                versions={},
                files={},
            ),
        )
    return read_bundle(folder)
