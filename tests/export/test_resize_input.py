from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tiny_bundles import make_model

from mlstack.bundle.session import Session
from mlstack.errors import ExportError
from mlstack.export.any_size import what_counts_places
from mlstack.export.resize_input import resize_input


def shapes(path: Path) -> list[list[int | str]]:
    graph = onnx.load(path).graph
    return [
        [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]


def test_a_model_takes_pictures_of_the_new_size_only(tmp_path: Path) -> None:
    source, output = make_model(tmp_path / "a.onnx"), tmp_path / "b.onnx"
    resize_input(source, output, height=12, width=12)
    assert shapes(output) == [["batch", 12, 12, 1], ["batch", 10], ["batch", 4]]
    assert Session(output).run(np.zeros((3, 12, 12, 1), np.uint8)).output.shape == (3, 10)
    onnx.checker.check_model(str(output), full_check=True)


def test_answers_are_those_of_the_same_network_written_for_that_size(tmp_path: Path) -> None:
    resize_input(make_model(tmp_path / "small.onnx"), tmp_path / "resized.onnx", height=20, width=20)
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 1), dtype=np.uint8)
    ours = Session(tmp_path / "resized.onnx").run(images)
    theirs = Session(make_model(tmp_path / "large.onnx", size=20)).run(images)
    np.testing.assert_allclose(ours.output, theirs.output, rtol=1e-5)
    np.testing.assert_allclose(ours.features, theirs.features, rtol=1e-5)


def test_a_fixed_number_of_pictures_stands_in_the_graph_and_changes_no_answer(tmp_path: Path) -> None:
    source, output = make_model(tmp_path / "a.onnx"), tmp_path / "b.onnx"
    resize_input(source, output, height=8, width=8, batch=2)
    assert shapes(output) == [[2, 8, 8, 1], [2, 10], [2, 4]]
    assert Session(output).batch == 2
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_allclose(Session(output).run(images).output, Session(source).run(images).output, rtol=1e-5)


def test_a_network_that_counts_the_places_of_its_picture_is_refused_and_nothing_written(tmp_path: Path) -> None:
    source, output = make_model(tmp_path / "model.onnx", baked=True), tmp_path / "b.onnx"
    with pytest.raises(
        ExportError, match=r"model\.onnx takes pictures of 8x8 only, not of 12x12: .* \(Flatten\)"
    ) as error:
        resize_input(source, output, height=12, width=12)
    assert "data.image_size=12" in error.value.hint
    assert not output.exists()
    resize_input(source, output, height=8, width=8, batch=1)  # its own size is no other size
    assert Session(output).batch == 1


def test_a_picture_that_is_too_small_is_refused_with_the_runtimes_reason(tmp_path: Path) -> None:
    source = make_model(tmp_path / "model.onnx")
    model = onnx.load(source)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    del node.attribute[:]
    node.attribute.extend([helper.make_attribute("kernel_shape", [3, 3]), helper.make_attribute("strides", [2, 2])])
    onnx.save(model, source)
    with pytest.raises(ExportError, match=r"model\.onnx can't be run on 1 x 2x2"):
        resize_input(source, tmp_path / "b.onnx", height=2, width=2)


def between(path: Path, *nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A tiny network with other operations between its activation `active` and `features`."""
    model = onnx.load(make_model(path / "model.onnx"))
    kept = [node for node in model.graph.node if node.op_type not in ("GlobalAveragePool", "Flatten")]
    place = 1 + next(index for index, node in enumerate(kept) if node.op_type == "Relu")
    del model.graph.node[:]
    model.graph.node.extend([*kept[:place], *nodes, *kept[place:]])
    return model


def test_a_pooling_whose_window_is_the_whole_picture_counts_places(tmp_path: Path) -> None:
    flatten = helper.make_node("Flatten", ["pooled"], ["features"])
    whole = helper.make_node("AveragePool", ["active"], ["pooled"], kernel_shape=[8, 8])
    assert what_counts_places(between(tmp_path, whole, flatten)) == "Flatten"
    mean = helper.make_node("GlobalAveragePool", ["pooled"], ["mean"])
    flatten.input[0] = "mean"
    assert what_counts_places(between(tmp_path, whole, mean, flatten)) is None  # the last of several, of a tiny picture


def test_places_that_are_picked_by_number_are_found(tmp_path: Path) -> None:
    """What torch's exporter makes of an adaptive pooling: it runs at any larger size, and overlooks the rest."""
    column = helper.make_node("Gather", ["active", "number"], ["column"], axis=2)
    mean = helper.make_node("ReduceMean", ["column", "axes"], ["features"], keepdims=0)
    model = between(tmp_path, column, mean)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(3), "number"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), "axes"))
    assert what_counts_places(model) == "Gather"


def test_a_mean_over_all_places_counts_none(tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["active", "axes"], ["features"], keepdims=0)
    model = between(tmp_path, mean)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, -2]), "axes"))
    assert what_counts_places(model) is None
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(np.array([2]), "axes"))
    model.graph.node.insert(6, helper.make_node("Flatten", ["features"], ["flat"]))
    assert what_counts_places(model) == "Flatten"
