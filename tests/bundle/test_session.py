from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_bundles import make_model
from whole_bundle import pictures

from mlstack.bundle import session
from mlstack.bundle.session import Session
from mlstack.errors import BundleError, MissingPackageError


def test_a_model_answers_in_the_order_of_the_pictures(tmp_path: Path) -> None:
    session = Session(make_model(tmp_path / "model.onnx"))
    assert (session.shape, session.batch, session.output) == ((8, 8, 1), None, "probabilities")
    images = pictures(5)
    answers = session.run(images)
    assert (answers.output.shape, answers.features.shape) == ((5, 10), (5, 4))
    assert answers.output.dtype == answers.features.dtype == np.float32
    backwards = session.run(images[::-1])
    np.testing.assert_allclose(backwards.output[::-1], answers.output, rtol=1e-6)


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    path = make_model(tmp_path / "model.onnx")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = f"from pathlib import Path; from mlstack.bundle.session import Session; Session(Path({str(path)!r}))"
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-c", code], env={**environment, "HOME": str(home)}, check=True, timeout=60)
    assert list(home.iterdir()) == []  # else it keeps an identity in .cache, and what is to be sent


@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_model_with_a_fixed_batch_takes_any_number_of_pictures(count: int, tmp_path: Path) -> None:
    fixed = Session(make_model(tmp_path / "fixed.onnx", batch=4)).run(pictures(count))
    free = Session(make_model(tmp_path / "free.onnx")).run(pictures(count))
    np.testing.assert_allclose(fixed.output, free.output, rtol=1e-6)
    np.testing.assert_allclose(fixed.features, free.features, rtol=1e-6)


def test_an_unoptimised_graph_answers_the_same(tmp_path: Path) -> None:
    path = make_model(tmp_path / "model.onnx", task="regression")
    answers = [Session(path, optimize=optimize, threads=2).run(pictures(3)).output for optimize in (True, False)]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5)


def test_pictures_of_another_shape_are_one_line(tmp_path: Path) -> None:
    session = Session(make_model(tmp_path / "model.onnx"))
    with pytest.raises(BundleError, match=r"can't be run on uint8 \[2, 9, 8, 1\]") as caught:
        session.run(np.zeros((2, 9, 8, 1), np.uint8))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(BundleError, match="can't be run on float32"):
        session.run(np.zeros((2, 8, 8, 1), np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 50])
def test_a_file_that_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx can't be loaded by ONNX Runtime") as caught:
        Session(path)
    assert len(str(caught.value).splitlines()) == 1


def renamed(path: Path, old: str, new: str) -> Path:
    """The same model with another name for an input or output."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["images", "features", "probabilities"])
def test_a_model_with_another_contract_is_refused(name: str, tmp_path: Path) -> None:
    path = renamed(make_model(tmp_path / "model.onnx"), name, "surprise")
    with pytest.raises(BundleError, match=rf"model\.onnx has to .*{name}.* not .*surprise"):
        Session(path)


def test_weights_outside_of_the_models_folder_are_never_read(tmp_path: Path) -> None:
    """Inside of it they are a file of the bundle, with its sha256."""
    (tmp_path / "bundle").mkdir()
    path = make_model(tmp_path / "bundle" / "model.onnx")
    model = onnx.load(path)
    weights = model.graph.initializer[1]
    (tmp_path / "secret.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="escapes model directory"):
        Session(path)


def test_a_runtime_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_model(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"running model\.onnx needs the package onnxruntime"):
        Session(path)


@pytest.mark.parametrize(("flags", "is_set"), [({"avx2"}, True), ({"avx2", "avx512_vnni"}, False), ({"asimd"}, False)])
def test_products_of_int8_are_made_exact_where_the_processor_would_saturate_them_and_nowhere_else(
    flags: set[str], is_set: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "cpu_flags", lambda: frozenset(flags))
    model = tmp_path / "model.onnx"
    make_model(model)
    options = Session(model)._session.get_session_options()
    try:
        found = options.get_session_config_entry("session.x64quantprecision")
    except RuntimeError:  # nobody has set it
        found = ""
    assert (found == "1") == is_set
