"""A small network that really tells digits apart: random convolutions, and a head fitted by least squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

# Extends sys.path and relies on it in later imports; inside a test the extension would be taken back after it.
import onnxruntime.quantization
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from mlstack.bundle.session import Session
from mlstack.export.graph import complete

CHANNELS = 16
TRAINED_ON = 1000  # the digits after these are held out
MEAN, STD = 0.3, 0.4
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Network:
    """A model file in 32 bits with what `quantize` needs besides.

    Attributes:
        path: From `images` uint8 [batch, 8, 8, 1] to `probabilities` and `features`.
        calibration: uint8 [n, 8, 8, 1].
        score: Accuracy on held-out digits of a file.
        baseline: That of `path`.
    """

    path: Path
    calibration: NDArray[np.uint8]
    score: Callable[[Path], float]
    baseline: float


Build = Callable[..., Network]


@pytest.fixture(scope="session")
def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [1797, 8, 8, 1] and their labels."""
    data = load_digits()
    return (data.images[..., None] * 15).astype(np.uint8), data.target


@pytest.fixture(scope="session")
def build(digits: tuple[NDArray[np.uint8], NDArray[np.int64]], tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`build(outlier=1000, task=…, batch=…)`: a network, or one that computes the same with a channel that large."""
    images, labels = digits
    held_out, truth = images[TRAINED_ON:], labels[TRAINED_ON:]

    def score(path: Path) -> float:
        return float((Session(path).run(held_out).output.argmax(axis=1) == truth).mean())

    def build(*, outlier: float = 1.0, task: str = "classification", batch: int | None = None) -> Network:
        weights = _fitted(images[:TRAINED_ON], labels[:TRAINED_ON])
        weights["first"][0] *= outlier
        weights["second"][:, 0] /= outlier
        core = _core(weights)
        model = complete(core, mean=[MEAN], std=[STD], channels=1, height=8, width=8, task=task)
        if batch:
            for value in (*model.graph.input, *model.graph.output):
                value.type.tensor_type.shape.dim[0].dim_value = batch
        path = tmp_path_factory.mktemp("network") / "model.onnx"
        onnx.save(model, path)
        return Network(path, images[:64], score, score(path))

    return build


@pytest.fixture(scope="session")
def network(build: Build) -> Network:
    """The ordinary one. Look, don't touch."""
    return build()


def operations(path: Path) -> dict[str, list[str]]:
    """Each node's name with its operation and those that make its inputs."""
    graph = onnx.load(path).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    return {node.name: [node.op_type, *(makers.get(name, "") for name in node.input)] for node in graph.node}


@pytest.fixture
def operations_of() -> Callable[[Path], dict[str, list[str]]]:
    """`operations_of(path)`: each node's name with its operation, then the operations that make its inputs."""
    return operations


def _fitted(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Weights:
    """Random convolutions and the linear head that tells their features apart best."""
    generator = np.random.default_rng(0)
    shapes = {"first": (CHANNELS, 1, 3, 3), "second": (CHANNELS, CHANNELS, 3, 3), "third": (CHANNELS, CHANNELS, 3, 3)}
    weights: Weights = {
        name: (generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes.items()
    }
    width = CHANNELS * 4 * 4
    weights["head"] = np.zeros((width, 10), np.float32)
    pixels = ((images / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(_core(weights).SerializeToString(), providers=["CPUExecutionProvider"])
    features = session.run(["features"], {"pixels": pixels})[0]
    targets = 20.0 * np.eye(10)[labels] - 2
    ridge = features.T @ features + 10 * np.eye(width)
    weights["head"] = np.linalg.solve(ridge, features.T @ targets).astype(np.float32)
    return weights


def _core(weights: Weights) -> onnx.ModelProto:
    """Three convolutions with a residual connection, a pooling and a linear layer: from pixels to logits."""
    convolution = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["pixels", "first"], ["a"], name="conv_first", **convolution),
        helper.make_node("Relu", ["a"], ["b"], name="relu_first"),
        helper.make_node("Conv", ["b", "second"], ["c"], name="conv_second", **convolution),
        helper.make_node("Relu", ["c"], ["d"], name="relu_second"),
        helper.make_node("Conv", ["d", "third"], ["e"], name="conv_third", **convolution),
        helper.make_node("Add", ["d", "e"], ["f"], name="add"),
        helper.make_node("Relu", ["f"], ["g"], name="relu_third"),
        helper.make_node("MaxPool", ["g"], ["h"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["h"], ["features"], name="flatten"),
        helper.make_node("Gemm", ["features", "head"], ["logits"], name="linear"),
    ]
    width = CHANNELS * 4 * 4
    graph = helper.make_graph(
        nodes,
        "core",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
