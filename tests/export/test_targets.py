"""Other runtimes' files of a bundle: OpenVINO for real, and what is refused or can't be checked of the others."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from whole_bundle import pictures, write_whole_bundle

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.session import Session
from mlstack.config.export import TARGETS, ExportConfig
from mlstack.errors import ConfigError, ExportError, HardwareError, MissingPackageError, OutputError
from mlstack.export.targets import base, check, convert, tensorrt
from mlstack.export.targets.convert import TARGETS as WRITTEN
from mlstack.export.targets.openvino import shared_core

Convert = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _measured_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SECONDS", 0.02)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle with a second model, which counts as int8."""
    return read_bundle(write_whole_bundle(tmp_path / "bundle", int8_noise=0.01))


@pytest.fixture
def to_openvino(bundle: Bundle) -> Convert:
    """`to_openvino(max_error=…)`: what the target says of the bundle, on 40 pictures."""
    return lambda **settings: convert(
        "openvino", bundle=bundle, run=None, images=pictures(40), config=ExportConfig(**settings)
    )


def test_every_target_of_the_schema_can_be_written() -> None:
    assert set(WRITTEN) == set(TARGETS) - {"onnx"}


def test_openvinos_files_answer_as_the_bundles_do(bundle: Bundle, to_openvino: Convert) -> None:
    lines = to_openvino()
    folder = bundle.path.parent / "targets" / "openvino"
    assert lines[-1] == f"written: {folder}"
    images = pictures(5, seed=9)
    for precision, name in (("fp32", "model.xml"), ("int8", "model.int8.xml")):
        compiled = shared_core().compile_model(folder / name, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        answers, expected = compiled(images), Session(bundle.model(precision)).run(images)
        np.testing.assert_allclose(answers["probabilities"], expected.output, atol=1e-5)
        np.testing.assert_allclose(answers["features"], expected.features, rtol=1e-3, atol=1e-5)


def test_signals_can_be_handled_after_several_conversions(to_openvino: Convert) -> None:
    for _ in range(2):
        to_openvino()
        gc.collect()
    stack = (ctypes.c_size_t * 3)()  # address, flags, size: of the memory in which this thread handles signals
    assert ctypes.CDLL(None).sigaltstack(None, stack) == 0
    areas = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()]
    assert any(int(start, 16) <= stack[0] < int(end, 16) for start, end in areas) or not stack[0]


def test_the_facts_hold_the_sha256_of_each_file_and_what_was_not_checked(bundle: Bundle, to_openvino: Convert) -> None:
    lines = to_openvino()
    folder = bundle.path.parent / "targets" / "openvino"
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    assert set(facts["files"]) == {"model.xml", "model.bin", "model.int8.xml", "model.int8.bin"}
    for name, of_file in facts["files"].items():
        assert of_file["sha256"] == sha256((folder / name).read_bytes()).hexdigest()
    first = facts["models"][0]
    # 40 pictures of noise, of which the first 8 are the bundle's golden ones: compared once.
    assert (first["file"], first["images"], first["agreement"]) == ("model.xml", 40, 1)
    assert first["relative_error"] < 1e-5
    assert first["bytes"] == sum((folder / name).stat().st_size for name in ("model.xml", "model.bin"))
    assert facts["not_checked"]
    assert any(line.startswith("not checked") for line in lines)


def test_a_file_that_answers_otherwise_is_not_written(
    bundle: Bundle, to_openvino: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    other, right = read_bundle(write_whole_bundle(tmp_path / "other", seed=1)).model(), openvino.convert_model
    to_openvino()
    before = {path.name: path.read_bytes() for path in (tmp_path / "targets" / "openvino").iterdir()}
    monkeypatch.setattr(openvino, "convert_model", lambda _: right(str(other)))
    with pytest.raises(ExportError, match=r"model\.xml does not answer like the bundle on 40 pictures: relative error"):
        to_openvino()
    after = {path.name: path.read_bytes() for path in (tmp_path / "targets" / "openvino").iterdir()}
    assert after == before
    assert [path.name for path in (tmp_path / "targets").iterdir()] == ["openvino"]


def test_nothing_is_written_over_the_limit(bundle: Bundle, to_openvino: Convert) -> None:
    with pytest.raises(ExportError, match="max_error"):
        to_openvino(max_error=1e-15)
    assert list((bundle.path.parent / "targets").iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(bundle: Bundle, to_openvino: Convert) -> None:
    folder = bundle.path.parent / "targets" / "openvino"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="something else"):
        to_openvino()
    assert (folder / "mine.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("batch", [1, 4])
def test_a_bundle_with_a_fixed_batch_is_compared_in_calls_of_that_size(tmp_path: Path, batch: int) -> None:
    bundle = read_bundle(write_whole_bundle(tmp_path / "fixed", batch=batch))
    convert("openvino", bundle=bundle, run=None, images=pictures(10, seed=5), config=ExportConfig())
    facts = json.loads((tmp_path / "fixed_targets" / "openvino" / "facts.json").read_text(encoding="utf-8"))
    assert facts["models"][0]["images"] == 18  # with the golden ones; the last call is filled up


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'openvino=="):
        check("openvino", run=None)


@pytest.mark.parametrize("target", ["torchscript", "coreml", "executorch", "litert"])
def test_what_starts_from_a_network_is_refused_for_an_onnx_file(target: str) -> None:
    with pytest.raises(ConfigError, match=f"target={target} starts from a run's network"):
        check(target, run=None)


def test_tensorrt_without_a_gpu_says_that_nothing_was_checked(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "gpu_driver", lambda: None)
    with pytest.raises(HardwareError, match="nothing was written or checked"):
        convert("tensorrt", bundle=bundle, run=None, images=pictures(4), config=ExportConfig())
    assert not (tmp_path / "targets").exists()


def test_tensorrt_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "gpu_driver", lambda: ("580.1", ["a GPU"]))
    monkeypatch.setattr(tensorrt, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'tensorrt=="):
        check("tensorrt", run=None)
