"""The model repository for Triton: read back as Triton reads it. A real server loads one in tests/containers."""

from __future__ import annotations

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton
from whole_bundle import CLASSES, metadata, pictures, write_whole_bundle

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.metadata import NAME
from mlstack.config.export import ExportConfig
from mlstack.errors import BundleError, ExportError
from mlstack.export.targets import check, convert
from mlstack.export.targets.base import Request
from mlstack.export.targets.triton import convert as write
from mlstack.export.targets.triton_config import INSTANCES, MAX_BATCH, PREFERRED, QUEUE_DELAY, model_name
from mlstack.export.targets.triton_readme import IMAGE


def repository(folder: Path, **bundle: Any) -> Path:
    """The repository of a new bundle with these arguments of `write_whole_bundle`."""
    convert_bundle(read_bundle(write_whole_bundle(folder / "bundle", **bundle)))
    return folder / "targets" / "triton"


def convert_bundle(bundle: Bundle) -> list[str]:
    return convert("triton", bundle=bundle, run=None, images=pictures(0), config=ExportConfig())


def config(folder: Path) -> Any:
    """config.pbtxt as Triton parses it: an unknown field, or a value of another type, ends the test."""
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), triton.ModelConfig())


def test_a_bundle_with_two_models_becomes_two_models_of_triton(tmp_path: Path) -> None:
    folder = repository(tmp_path, int8_noise=0.01)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    each = {"config.pbtxt", "labels.txt", "1/model.onnx"}
    models = {f"{name}/{file}" for name in ("tiny", "tiny-int8") for file in each}
    assert files == {*models, "README.md", "facts.json"}
    for name, file in (("tiny", "model.onnx"), ("tiny-int8", "model.int8.onnx")):
        assert (folder / name / "1" / "model.onnx").read_bytes() == (tmp_path / "bundle" / file).read_bytes()


def test_config_pbtxt_says_what_the_bundle_takes_and_answers(tmp_path: Path) -> None:
    read = config(repository(tmp_path) / "tiny")
    assert (read.name, read.backend, read.default_model_filename) == ("tiny", "onnxruntime", "model.onnx")
    [images] = read.input
    assert (images.name, images.data_type, list(images.dims)) == ("images", triton.TYPE_UINT8, [8, 8, 1])
    assert images.format == triton.ModelInput.FORMAT_NHWC
    shapes = [(one.name, one.data_type, list(one.dims), one.label_filename) for one in read.output]
    assert shapes == [
        ("probabilities", triton.TYPE_FP32, [3], "labels.txt"),
        ("features", triton.TYPE_FP32, [4], ""),
    ]
    assert read.parameters["bundle_version"].string_value == "v1"
    assert read.parameters["intra_op_thread_count"].string_value == "1"


def test_requests_are_batched_and_the_preferred_sizes_fit(tmp_path: Path) -> None:
    read = config(repository(tmp_path) / "tiny")
    assert read.HasField("dynamic_batching")
    batching = read.dynamic_batching
    assert 0 < max(batching.preferred_batch_size) <= read.max_batch_size
    assert 0 < batching.max_queue_delay_microseconds <= 5000
    assert [one.batch_size for one in read.model_warmup] == [1, 8]
    for one in read.model_warmup:
        assert list(one.inputs["images"].dims) == [8, 8, 1]
        assert one.inputs["images"].zero_data


def test_what_is_quantised_for_processors_stays_off_the_gpu(tmp_path: Path) -> None:
    folder = repository(tmp_path, int8_noise=0.01)
    kinds = {name: config(folder / name).instance_group[0].kind for name in ("tiny", "tiny-int8")}
    group = triton.ModelInstanceGroup
    assert kinds == {"tiny": group.KIND_AUTO, "tiny-int8": group.KIND_CPU}


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_part_of_the_shape(tmp_path: Path, batch: int) -> None:
    read = config(repository(tmp_path, batch=batch) / "tiny")
    assert (read.max_batch_size, read.HasField("dynamic_batching")) == (0, False)
    assert list(read.input[0].dims) == [batch, 8, 8, 1]
    assert [list(one.dims) for one in read.output] == [[batch, 3], [batch, 4]]
    # Triton takes FORMAT_NHWC beside three dimensions alone, and names classes of one picture alone.
    assert read.input[0].format == triton.ModelInput.FORMAT_NONE
    assert read.output[0].label_filename == ("labels.txt" if batch == 1 else "")
    assert [one.batch_size for one in read.model_warmup] == [1]


def test_a_regression_has_no_labels(tmp_path: Path) -> None:
    folder = repository(tmp_path, task="regression", output="values")
    read = config(folder / "tiny")
    assert (read.output[0].name, read.output[0].label_filename) == ("values", "")
    assert not (folder / "tiny" / "labels.txt").exists()
    assert ", ".join(CLASSES) in (folder / "README.md").read_text(encoding="utf-8")


def test_class_names_take_one_line_each_whatever_they_hold(tmp_path: Path) -> None:
    names = ('"quoted" \\ {x}', "猫: a # cat", "two\r\n lines\u2028three")
    folder = repository(tmp_path, classes=names, task="multilabel") / "tiny"
    config(folder)
    text = (folder / "labels.txt").read_text(encoding="utf-8")
    assert text.split("\n") == ['"quoted" \\ {x}', "猫: a # cat", "two lines three", ""]


@pytest.mark.parametrize("name", ["resnet18.v2", "-dash", "_", "a" * 128])
def test_a_bundles_name_is_a_folder_and_a_name_of_triton_as_it_is(tmp_path: Path, name: str) -> None:
    read = config(repository(tmp_path, name=name) / name)
    assert read.name == name


def test_a_name_that_leads_elsewhere_never_gets_so_far(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="name"):
        write_whole_bundle(tmp_path / "bundle", name="../elsewhere")
    assert NAME.fullmatch('x" backend: "python') is None


def test_clients_ask_for_the_default_file_by_the_bundles_own_name() -> None:
    for default in ("fp32", "int8"):
        names = {precision: model_name(metadata(default=default), precision) for precision in ("fp32", "int8")}
        assert names.pop(default) == "tiny"
        assert [*names.items()] == [(precision, f"tiny-{precision}") for precision in names]


def test_the_command_says_what_nobody_has_checked(tmp_path: Path) -> None:
    bundle = read_bundle(write_whole_bundle(tmp_path / "bundle", int8_noise=0.01))
    lines = convert_bundle(bundle)
    assert "checked      tiny: the bundle's own model.onnx, byte for byte; ONNX opset 18, IR version 10" in lines
    for doubt in ("Triton itself", "GPUs", "int8 on x86 processors without VNNI"):
        assert any(line.startswith(f"not checked  {doubt}") for line in lines), doubt
    facts = json.loads((tmp_path / "targets" / "triton" / "facts.json").read_text(encoding="utf-8"))
    content = (tmp_path / "targets" / "triton" / "tiny" / "1" / "model.onnx").read_bytes()
    assert facts["files"]["tiny/1/model.onnx"]["sha256"] == sha256(content).hexdigest()
    assert [(one["file"], one["run_by"]) for one in facts["models"]] == [
        ("tiny/1/model.onnx", None),
        ("tiny-int8/1/model.onnx", None),
    ]


def test_a_file_that_changed_since_the_bundle_was_read_is_refused(tmp_path: Path) -> None:
    bundle = read_bundle(write_whole_bundle(tmp_path / "bundle"))
    shutil.copy(write_whole_bundle(tmp_path / "other", seed=1) / "model.onnx", bundle.path / "model.onnx")
    (tmp_path / "out").mkdir()
    request = Request(bundle=bundle, run=None, images=pictures(0), config=ExportConfig(), folder=tmp_path / "out")
    with pytest.raises(ExportError, match=r"model\.onnx changed while it was copied"):
        write(request)


def test_nothing_has_to_be_installed_for_it() -> None:
    check("triton", run=None)


def test_its_readme_shows_a_request_of_the_right_size(tmp_path: Path) -> None:
    text = (repository(tmp_path, batch=4) / "README.md").read_text(encoding="utf-8")
    assert '"shape": [4, 8, 8, 1], "data": [0] * 256' in text
    assert "/v2/models/tiny/infer" in text
    assert "n is exactly 4" in text


def test_the_limit_of_the_queue_in_the_documentation_fits_what_is_written(tmp_path: Path) -> None:
    readme = Path(__file__).parents[2] / "deploy" / "triton" / "README.md"
    [snippet] = re.findall(r"`(dynamic_batching \{.*\})`", readme.read_text(encoding="utf-8"))
    read = config(repository(tmp_path) / "tiny")
    read.MergeFrom(text_format.Parse(snippet, triton.ModelConfig()))
    assert read.dynamic_batching.default_queue_policy.max_queue_size == 256
    assert list(read.dynamic_batching.preferred_batch_size) == [8, 32]


def test_the_documentation_says_the_values_that_are_written() -> None:
    text = (Path(__file__).parents[2] / "deploy" / "triton" / "README.md").read_text(encoding="utf-8")
    assert f"| `instance_group.count` | {INSTANCES}, one thread each |" in text
    assert f"| `max_batch_size` | {MAX_BATCH} |" in text
    assert f"| {' and '.join(map(str, PREFERRED))}, {QUEUE_DELAY} |" in text
    assert IMAGE in text
