from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mlstack.bundle.session import Session
from mlstack.errors import ExportError
from mlstack.export.contract import check_contract
from mlstack.export.graph import complete
from mlstack.export.simplify import simplify
from mlstack.export.temperature import activated

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.5]
DRAW = np.random.default_rng(0)
PICTURES = DRAW.integers(0, 256, (17, 6, 4, 3), dtype=np.uint8)


def constant(name: str, values: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)


def model(
    nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], *, batch: Any = "any", answers: int = 2
) -> Any:
    """From `pixels` [batch, 3, 6, 4] to `logits` and `features` [batch, 3]."""
    ends = [("logits", answers), ("features", 3)]
    graph = helper.make_graph(
        nodes,
        "core",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, 6, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}.0", size]) for name, size in ends],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


WEIGHT = DRAW.normal(0, 1, (3, 2)).astype(np.float32)


def core(image: str = "pixels", name: str = "logits") -> onnx.ModelProto:
    """The mean of each channel, and two sums of the three."""
    nodes = [
        helper.make_node("ReduceMean", [image, "axes"], ["mean"], keepdims=1, doc_string="/home/someone/model.py"),
        helper.make_node("Reshape", ["mean", "flat"], ["features"], allowzero=1),
        helper.make_node("MatMul", ["features", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], [name]),
    ]
    bias = np.array([0.5, -0.5], np.float32)
    values = [("axes", np.array([2, 3])), ("flat", np.array([-1, 3])), ("weight", WEIGHT), ("bias", bias)]
    return model(nodes, [constant(*value) for value in values])


def expected(pictures: NDArray[np.uint8] = PICTURES) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits and features of `core`, by NumPy in 64 bits."""
    features = ((pictures / 255 - MEAN) / STD).mean(axis=(1, 2))
    return features @ WEIGHT + [0.5, -0.5], features


def completed(path: Path, network: onnx.ModelProto | None = None, **settings: Any) -> Session:
    shape = {"mean": MEAN, "std": STD, "channels": 3, "height": 6, "width": 4}
    onnx.save(complete(network or core(), **{**shape, "task": "classification", **settings}), path)
    check_contract(path)
    return Session(path)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_pictures_go_in_as_they_are_and_answers_come_out(task: str, tmp_path: Path) -> None:
    answers = completed(tmp_path / "model.onnx", task=task).run(PICTURES)
    logits, features = expected()
    assert answers.output == pytest.approx(activated(logits, task), abs=1e-5)
    assert answers.features == pytest.approx(features, abs=1e-5)


@pytest.mark.parametrize("count", [1, 3, 17])
def test_any_number_of_pictures_is_answered_alike(count: int, tmp_path: Path) -> None:
    session = completed(tmp_path / "model.onnx")
    assert session.run(PICTURES[:count]).output == pytest.approx(session.run(PICTURES).output[:count], abs=1e-6)


def test_logits_are_divided_by_the_temperature(tmp_path: Path) -> None:
    answers = completed(tmp_path / "model.onnx", temperature=2.5).run(PICTURES)
    assert answers.output == pytest.approx(activated(expected()[0] / 2.5, "classification"), abs=1e-5)


def test_probabilities_of_a_network_of_ones_own_stay_or_get_a_temperature(tmp_path: Path) -> None:
    network = core(name="sums")
    network.graph.node.append(helper.make_node("Softmax", ["sums"], ["logits"], axis=1))
    plain = completed(tmp_path / "plain.onnx", network, answers="probabilities").run(PICTURES)
    assert plain.output == pytest.approx(activated(expected()[0], "classification"), abs=1e-5)
    cooler = completed(tmp_path / "cooler.onnx", network, answers="probabilities", temperature=2.0).run(PICTURES)
    assert cooler.output == pytest.approx(activated(expected()[0] / 2, "classification"), abs=1e-5)


def test_a_network_that_takes_blue_first_gets_blue_first(tmp_path: Path) -> None:
    session = completed(tmp_path / "model.onnx", color="bgr", mean=MEAN[::-1], std=STD[::-1])
    features = expected()[1][:, ::-1]
    assert session.run(PICTURES).features == pytest.approx(features, abs=1e-5)


def test_tensors_that_go_by_the_bundles_names_are_no_trouble(tmp_path: Path) -> None:
    network = core(image="images", name="probabilities")
    network.graph.node.insert(0, helper.make_node("Identity", ["pixels"], ["images"]))
    network.graph.node.append(helper.make_node("Identity", ["probabilities"], ["logits"]))
    for node in network.graph.node:
        node.name = "same"
    answers = completed(tmp_path / "model.onnx", network).run(PICTURES)
    assert answers.output == pytest.approx(activated(expected()[0], "classification"), abs=1e-5)


def test_a_batch_that_is_a_number_stays_one(tmp_path: Path) -> None:
    network = core()
    for value in (*network.graph.input, *network.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    session = completed(tmp_path / "model.onnx", network)
    assert session.batch == 2
    assert session.run(PICTURES).output == pytest.approx(activated(expected()[0], "classification"), abs=1e-5)


def test_no_constant_knows_the_size_of_the_pictures(tmp_path: Path) -> None:
    completed(tmp_path / "model.onnx")
    resized = onnx.load(tmp_path / "model.onnx")
    for index, side in ((1, 9), (2, 5)):
        resized.graph.input[0].type.tensor_type.shape.dim[index].dim_value = side
    onnx.save(resized, tmp_path / "resized.onnx")
    pictures = DRAW.integers(0, 256, (2, 9, 5, 3), dtype=np.uint8)
    assert Session(tmp_path / "resized.onnx").run(pictures).features == pytest.approx(expected(pictures)[1], abs=1e-5)


def test_nothing_tells_who_exported_it_or_where(tmp_path: Path) -> None:
    network = core()
    helper.set_model_props(network, {"path": "/home/someone"})
    completed(tmp_path / "model.onnx", network)
    assert b"someone" not in (tmp_path / "model.onnx").read_bytes()


def operations(network: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in network.graph.node)


def test_a_mean_over_the_plane_is_a_pooling_and_a_product_with_a_sum_one_layer() -> None:
    simple = simplify(core())
    assert operations(simple) == {"GlobalAveragePool": 1, "Reshape": 1, "Gemm": 1}
    assert not simple.graph.node[1].attribute  # no runtime has to know `allowzero`
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in simple.graph.output] == ["batch", "batch"]


def test_batch_norm_bias_and_computed_shapes_become_part_of_what_they_follow(tmp_path: Path) -> None:
    """As Paddle's exporter writes them."""
    nodes = [
        helper.make_node("Conv", ["pixels", "filters"], ["sums"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["sums", "bias"], ["biased"]),
        helper.make_node("BatchNormalization", ["biased", "scale", "shift", "mean", "variance"], ["normal"]),
        helper.make_node("GlobalMaxPool", ["normal"], ["pooled"]),
        helper.make_node("Shape", ["pooled"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one", "zero"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["pooled", "flat"], ["features"]),
        helper.make_node("Gemm", ["features", "weight"], ["logits"]),
    ]
    draw = np.random.default_rng(2)
    numbers = {name: draw.uniform(0.5, 1.5, 3).astype(np.float32) for name in ("scale", "shift", "mean", "variance")}
    filters = draw.normal(0, 1, (3, 3, 3, 3)).astype(np.float32)
    values = {"filters": filters, "bias": np.ones((1, 3, 1, 1), np.float32), "weight": WEIGHT, **numbers}
    shapes = {"zero": np.array([0]), "one": np.array([1]), "rest": np.array([-1])}
    network = model(nodes, [constant(name, value) for name, value in {**values, **shapes}.items()])
    simple = simplify(network)
    assert operations(simple).keys() <= {"Conv", "GlobalMaxPool", "Reshape", "Flatten", "Gemm"}
    assert len(simple.graph.node) == 4
    plain = complete_as_it_is(tmp_path / "plain.onnx", network)
    assert completed(tmp_path / "model.onnx", network).run(PICTURES).features == pytest.approx(plain, abs=1e-5)


def complete_as_it_is(path: Path, network: onnx.ModelProto) -> NDArray[np.float32]:
    """Features that ONNX Runtime computes from the network as it was written."""
    import onnxruntime

    onnx.save(network, path)
    pixels = ((PICTURES / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["features"], {"pixels": pixels})[0])


def spoilt(path: Path, change: str) -> None:
    completed(path)
    network = onnx.load(path)
    graph = network.graph
    if change == "name":
        graph.output[0].name = graph.node[-1].output[0] = "scores"
    elif change == "order":
        first = onnx.ValueInfoProto()
        first.CopyFrom(graph.output[0])
        del graph.output[0]
        graph.output.append(first)
    elif change == "fixed batch":
        graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    elif change == "open height":
        graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    else:
        graph.node[-1].op_type = "NoSuchOperation"
    onnx.save(network, path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("name", "a bundle's model goes from images to probabilities or values, and features"),
        ("order", "goes from images to features, probabilities"),
        ("fixed batch", "probabilities is float"),
        ("open height", "images is uint8"),
        ("operation", "no valid ONNX"),
    ],
)
def test_a_file_that_a_server_could_not_use_is_refused(change: str, said: str, tmp_path: Path) -> None:
    spoilt(tmp_path / "model.onnx", change)
    with pytest.raises(ExportError, match=said):
        check_contract(tmp_path / "model.onnx")
