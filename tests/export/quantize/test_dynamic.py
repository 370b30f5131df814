from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mlstack.config.export import QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.quantize import Quantized, quantize


def dynamic(network: Any, output: Path, **settings: Any) -> Quantized:
    return quantize(
        network.path,
        output,
        settings=QuantizeConfig(mode="dynamic", **settings),
        calibration=network.calibration,
        score=network.score,
        baseline=network.baseline,
    )


def test_linear_layers_become_int8_and_convolutions_stay(network: Any, tmp_path: Path) -> None:
    output = tmp_path / "model.dynamic.onnx"
    quantized = dynamic(network, output)
    assert (quantized.precision, quantized.quantized) == ("int8_dynamic", 1)
    assert quantized.score == network.score(output)
    model = onnx.load(output)
    operations = [node.op_type for node in model.graph.node]
    assert operations.count("MatMulInteger") == 1
    assert operations.count("Conv") == 3
    bytes_of = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert [array.shape for array in bytes_of.values() if array.dtype == np.int8 and array.ndim == 2] == [(256, 10)]


def test_of_a_network_of_convolutions_it_says_how_little_it_does(
    network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    details = dynamic(network, tmp_path / "model.dynamic.onnx").details
    weights = {"first": 144, "second": 2304, "third": 2304, "head": 2560}
    assert details["share_of_weights"] == pytest.approx(weights["head"] / sum(weights.values()))
    assert "35.0%" in details["note"]
    assert "quantize.mode=int8" in details["note"]


def test_a_network_without_a_linear_layer_is_refused(network: Any, tmp_path: Path) -> None:
    model = onnx.load(network.path)
    for node in model.graph.node:
        if node.op_type == "Gemm":  # from features of 256 to 10 by sums of weights that are computed, not stored
            node.CopyFrom(onnx.helper.make_node("Split", ["features"], [node.output[0], "rest"], axis=1, name="linear"))
            node.input.append("sizes")
    model.graph.initializer.append(numpy_helper.from_array(np.array([10, 246]), "sizes"))
    path = tmp_path / "convolutions.onnx"
    onnx.save(model, path)
    with pytest.raises(ExportError, match="no linear layer") as error:
        dynamic(replace(network, path=path), tmp_path / "model.dynamic.onnx")
    assert "quantize.mode=int8" in str(error.value)
    assert not (tmp_path / "model.dynamic.onnx").exists()


def test_a_budget_that_is_missed_is_refused_and_leaves_no_file(network: Any, tmp_path: Path) -> None:
    lossy = replace(network, score=lambda path: network.baseline - 0.1)
    with pytest.raises(ExportError, match=r"loses 10.00 points; quantize.max_drop=0.5"):
        dynamic(lossy, tmp_path / "model.dynamic.onnx")
    assert list(tmp_path.iterdir()) == []
