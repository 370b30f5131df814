from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mlstack.bundle.session import Session
from mlstack.config.export import CALIBRATION_METHODS, QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.quantize import Quantized, points, quantize

Operations = Callable[[Path], dict[str, list[str]]]


def int8(network: Any, output: Path, **settings: Any) -> Quantized:
    return quantize(
        network.path,
        output,
        settings=QuantizeConfig(mode="int8", **settings),
        calibration=network.calibration,
        score=network.score,
        baseline=network.baseline,
    )


def test_the_network_of_these_tests_can_tell_digits_apart(network: Any) -> None:
    assert network.baseline > 0.9


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
def test_all_layers_become_int8_and_the_score_stays(network: Any, tmp_path: Path, method: str) -> None:
    output = tmp_path / "model.int8.onnx"
    quantized = int8(network, output, max_drop=1.5, method=method)
    assert quantized.precision == "int8"
    assert (quantized.quantized, quantized.left_out) == (4, ())
    assert quantized.score == network.score(output)
    assert quantized.details["drop"] == pytest.approx(100 * (network.baseline - quantized.score))
    assert quantized.details["calibration"] == {"method": method, "images": 64, "seed": 0}


def test_the_file_is_valid_portable_and_holds_bytes_for_weights(network: Any, tmp_path: Path) -> None:
    output = tmp_path / "model.int8.onnx"
    int8(network, output, max_drop=1.5)
    model = onnx.load(output)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) > 100]
    assert {numpy_helper.to_array(tensor).dtype for tensor in large} == {np.dtype(np.int8)}
    scales = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name.endswith("_scale")]
    assert sorted(scale.size for scale in scales if scale.size > 1) == [10, 16, 16, 16]  # one for each output channel


def test_normalisation_and_softmax_stay_in_32_bits(network: Any, tmp_path: Path, operations_of: Operations) -> None:
    output = tmp_path / "model.int8.onnx"
    int8(network, output, max_drop=1.5)
    operations = operations_of(output)
    outside = {name: inputs for name, inputs in operations.items() if name.startswith(("preprocess/", "answer/"))}
    assert {inputs[0] for inputs in outside.values()} == {"Transpose", "Cast", "Mul", "Add", "Softmax"}
    assert all("Linear" not in maker for _, *makers in outside.values() for maker in makers)
    assert operations["linear"] == ["Gemm", *["DequantizeLinear"] * 2]


def test_relu_becomes_part_of_the_range_before_it(network: Any, tmp_path: Path, operations_of: Operations) -> None:
    output = tmp_path / "model.int8.onnx"
    int8(network, output, max_drop=1.5)
    assert "Relu" not in {operation for operation, *_ in operations_of(output).values()}


def test_only_the_sensitive_layers_stay_in_32_bits(build: Any, tmp_path: Path, operations_of: Operations) -> None:
    """One channel of the activation between the first two layers is 3,000 times as large as the others."""
    network = build(outlier=3000.0)
    output = tmp_path / "model.int8.onnx"
    quantized = int8(network, output, max_drop=1.5)
    assert set(quantized.left_out) == {"conv_first", "conv_second"}
    assert quantized.quantized == 2
    assert network.baseline - quantized.score <= 0.015
    assert {one["weight"] for one in quantized.details["sensitive"]} == {"first", "second"}
    assert quantized.details["measurements"] == 3  # none, one, and two left out
    operations = operations_of(output)
    assert all(operations[name][1] != "DequantizeLinear" for name in quantized.left_out)
    assert operations["conv_third"] == ["Conv", "DequantizeLinear", "DequantizeLinear"]


def test_a_budget_that_cannot_be_kept_is_refused_and_leaves_no_file(network: Any, tmp_path: Path) -> None:
    lossy = replace(network, score=lambda path: network.baseline - 0.1)
    output = tmp_path / "model.int8.onnx"
    with pytest.raises(ExportError, match=r"loses 10.00 points .* of 4 layers .* quantize.max_drop=0.5") as error:
        int8(lossy, output)
    assert "quantize.method=entropy" in str(error.value)
    assert "recipe=quantization_aware" in str(error.value)
    assert "quantize.max_drop=10" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_score_that_is_no_number_keeps_no_budget(network: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        int8(replace(network, score=lambda path: float("nan")), tmp_path / "model.int8.onnx")


def test_the_same_pictures_give_the_same_file(network: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    for output in (first, second):
        int8(network, output, max_drop=1.5)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_with_a_fixed_batch_becomes_int8_too(build: Any, tmp_path: Path) -> None:
    network = build(batch=24)
    output = tmp_path / "model.int8.onnx"
    int8(network, output, max_drop=1.5)
    assert Session(output).batch == 24


def test_a_regression_counts_percent_of_its_error(build: Any, tmp_path: Path) -> None:
    network = build(task="regression")
    regression = replace(network, score=lambda path: -2.01 if path != network.path else -2.0, baseline=-2.0)
    assert int8(regression, tmp_path / "ok.onnx", max_drop=0.6).details["drop"] == pytest.approx(0.5)
    with pytest.raises(ExportError, match=r"loses 0\.50 points"):
        int8(regression, tmp_path / "refused.onnx", max_drop=0.4)


def test_a_network_without_layers_is_refused(tmp_path: Path, network: Any) -> None:
    model = onnx.load(network.path)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(
        [
            onnx.helper.make_node("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Flatten", ["floats"], ["features"]),
            onnx.helper.make_node("Softmax", ["features"], ["probabilities"]),
        ]
    )
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = 64
    path = tmp_path / "flat.onnx"
    onnx.save(model, path)
    with pytest.raises(ExportError, match="no convolution or linear layer"):
        int8(replace(network, path=path), tmp_path / "model.int8.onnx")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ExportError, match=r"model.onnx can't be quantised"):
        int8(replace(network, path=path), tmp_path / "model.int8.onnx")


@pytest.mark.parametrize(
    ("baseline", "score", "drop"),
    [(0.9, 0.895, 0.5), (0.9, 0.91, -1.0), (-2.0, -2.1, 5.0), (0.9, float("nan"), float("inf"))],
)
def test_points_are_hundredths_of_a_score_or_of_an_error(baseline: float, score: float, drop: float) -> None:
    assert points(baseline, score) == pytest.approx(drop)
