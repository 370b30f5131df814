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
from mlstack.config.export import QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.quantize import Quantized, quantize


def half(network: Any, output: Path, **settings: Any) -> Quantized:
    return quantize(
        network.path,
        output,
        settings=QuantizeConfig(mode="fp16", **settings),
        calibration=network.calibration,
        score=network.score,
        baseline=network.baseline,
    )


def test_weights_take_half_the_bytes_and_answers_stay_the_same(network: Any, tmp_path: Path) -> None:
    output = tmp_path / "model.fp16.onnx"
    quantized = half(network, output)
    assert (quantized.precision, quantized.quantized) == ("fp16", 4)
    assert quantized.details["agreement"] == 1
    assert 0 < quantized.details["relative_error"] < 5e-3
    assert quantized.details["size_ratio"] == output.stat().st_size / network.path.stat().st_size
    large = [tensor for tensor in onnx.load(output).graph.initializer if np.prod(tensor.dims) > 100]
    assert {numpy_helper.to_array(tensor).dtype for tensor in large} == {np.dtype(np.float16)}


def test_pictures_and_answers_keep_the_types_of_the_contract(network: Any, tmp_path: Path) -> None:
    output = tmp_path / "model.fp16.onnx"
    half(network, output)
    model = onnx.load(output)
    onnx.checker.check_model(model, full_check=True)
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    floats = onnx.TensorProto.FLOAT
    assert types == {"images": onnx.TensorProto.UINT8, "probabilities": floats, "features": floats}
    ours, theirs = (Session(path).run(network.calibration) for path in (output, network.path))
    np.testing.assert_allclose(ours.features, theirs.features, rtol=0, atol=5e-3 * np.abs(theirs.features).max())


def test_normalisation_and_softmax_stay_in_32_bits(
    network: Any, tmp_path: Path, operations_of: Callable[[Path], dict[str, list[str]]]
) -> None:
    output = tmp_path / "model.fp16.onnx"
    half(network, output)
    constants = {tensor.name: tensor for tensor in onnx.load(output).graph.initializer}
    ours = [tensor for name, tensor in constants.items() if name.startswith(("preprocess/", "answer/"))]
    assert {tensor.data_type for tensor in ours} == {onnx.TensorProto.FLOAT}
    assert operations_of(output)["answer/Softmax"] == ["Softmax", "Cast"]


def test_a_network_whose_activations_leave_the_range_is_refused(build: Any, tmp_path: Path) -> None:
    network = build(outlier=1e5)
    with pytest.raises(ExportError, match=r"activation . reaches .*, fp16 ends at 65,504"):
        half(network, tmp_path / "model.fp16.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_is_missed_is_refused_and_leaves_no_file(network: Any, tmp_path: Path) -> None:
    lossy = replace(network, score=lambda path: network.baseline - 0.1)
    with pytest.raises(ExportError, match=r"loses 10.00 points; quantize.max_drop=0.5"):
        half(lossy, tmp_path / "model.fp16.onnx")
    assert list(tmp_path.iterdir()) == []
