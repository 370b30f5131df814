from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import make_bundle

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.reference import read_reference
from mlstack.bundle.session import Session
from mlstack.commands import optimize_for_edge as module
from mlstack.commands.optimize_for_edge import optimize_for_edge, parse_size
from mlstack.config import Config, DataConfig
from mlstack.config.export import EdgeConfig, EdgeQuantizeConfig
from mlstack.errors import BundleError, ConfigError, ExportError
from mlstack.export import edge, edge_report, model_card
from mlstack.export.device import Device, read_device
from mlstack.runs import RunFolder

PI = "raspberry-pi-5"


@pytest.fixture(autouse=True)
def _measured_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_report, "SECONDS", 0.01)
    monkeypatch.setattr(model_card, "MEASURED_S", 0.01)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle in a run folder whose data are here."""
    run = RunFolder(tmp_path / "outputs" / "digits_tiny" / "run")
    run.path.mkdir(parents=True)
    run.write_config(Config(data=DataConfig(name="few_digits", target="few_digits:load")))
    return make_bundle(run.path / "bundle", width=8)


def edged(bundle: Bundle, device: str = PI, mode: str = "device", **keys: object) -> Bundle:
    config = EdgeConfig(target=device, bundle=str(bundle.path), **keys)  # type: ignore[arg-type]
    optimize_for_edge(replace(config, quantize=EdgeQuantizeConfig(mode=mode, images=32, max_drop=20.0)))
    return read_bundle(bundle.path.parent / "edge" / Path(device).stem)


def test_a_bundle_for_a_device_is_fixed_resized_quantised_measured_and_whole(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    made = edged(bundle, input_size="12x12", batch_size=2)
    metadata = made.metadata
    assert (metadata.batch, metadata.input.height, metadata.input.width) == (2, 12, 12)
    assert metadata.input.decoded_size == 12  # the whole picture, as before
    assert [model.precision for model in metadata.models] == ["fp32", "int8"]
    assert metadata.default == "int8"
    facts = metadata.source["edge"]
    assert (facts["device"], facts["threads"], facts["input_size_before"]) == (PI, 4, [8, 8])
    assert 20 < facts["memory_mb"] < 500
    for model in metadata.models:
        session = Session(made.path / model.file)
        assert (session.batch, session.shape) == (2, (12, 12, 1))
        assert 0 <= model.metrics["test"]["accuracy"] <= 1
        assert model.details["measured_on"] == {"val": 40, "test": 30}
    reference = read_reference(made.path / "reference.npz", metadata)
    answers = Session(made.model("fp32")).run(reference.golden_images).output
    np.testing.assert_allclose(answers, reference.golden_outputs, rtol=1e-5)
    assert "README.md" in metadata.files
    shown = capsys.readouterr().out
    assert "12x12" in shown
    assert "on the Raspberry Pi 5: not measured" in shown
    assert "% of the device's 2,048 MiB" in shown
    assert f"written: {made.path}" in shown


def test_accuracy_is_that_of_the_bundles_pictures_in_the_new_size(bundle: Bundle) -> None:
    made = edged(bundle, mode="none", input_size="12")
    data = replace(RunFolder(bundle.path.parent).read_config().data, image_size=12)
    from mlstack.datasets import load_dataset

    test = load_dataset(data).splits["test"]
    answers = Session(made.model("fp32")).run(test.images.read(np.arange(30))).output
    accuracy = float((answers.argmax(axis=1) == test.labels).mean())
    assert made.metadata.models[0].metrics["test"]["accuracy"] == pytest.approx(accuracy)


def test_a_loss_of_accuracy_is_said_loudly(bundle: Bundle) -> None:
    before = {"val": [{"accuracy": 0.9}], "test": [{"accuracy": 0.5}]}
    metrics = {"val": {"accuracy": 0.8}, "test": {"accuracy": 0.499}}
    worse = replace(
        bundle, metadata=replace(bundle.metadata, models=(replace(bundle.metadata.models[0], metrics=metrics),))
    )
    lines = edge_report.losses(bundle, worse, before, max_drop=0.5)
    assert lines == ["WARNING: accuracy on val gets worse by 10.00 points: 90.00% → 80.00%"]


def test_without_its_data_int8_needs_pictures(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle.path.parent / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="int8 is calibrated on pictures, and neither") as error:
        edged(bundle, mode="int8")
    assert "images=" in error.value.hint
    assert not (bundle.path.parent / "edge").exists()
    made = edged(bundle)
    assert [model.precision for model in made.metadata.models] == ["fp32"]
    assert "fp32 is made instead" in capsys.readouterr().out
    (tmp_path / "photos").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (20, 30), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{number}.png")
    made = edged(bundle, images=[str(tmp_path / "photos")])
    assert made.metadata.default == "int8"
    assert made.metadata.models[1].metrics == {}


def test_a_precision_that_the_device_lacks_is_made_if_asked_for_with_a_warning(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    made = edged(bundle, "jetson-nano", mode="int8")
    assert made.metadata.default == "int8"
    shown = capsys.readouterr().out
    assert "warning: NVIDIA Jetson Nano has no arithmetic for int8; it computes fp16, fp32 faster" in shown
    assert "trtexec --onnx=model.int8.onnx --int8" in shown


def test_a_network_of_one_size_is_refused_and_the_old_folder_stays(bundle: Bundle, tmp_path: Path) -> None:
    baked = make_bundle(tmp_path / "baked" / "bundle", baked=True)
    made = edged(baked)
    with pytest.raises(ExportError, match="takes pictures of 8x8 only, not of 12x12"):
        edged(baked, input_size="12x12")
    assert read_bundle(made.path).metadata == made.metadata
    assert [path.name for path in made.path.parent.iterdir()] == [PI]


def device(tmp_path: Path, memory: int) -> str:
    path = tmp_path / "toaster.yaml"
    path.write_text(
        f"title: Toaster\nmemory_mb: {memory}\nprocessor: Arm\ncores: 1\ntarget: onnx\nprecisions: [fp32]\n"
    )
    return str(path)


def test_a_device_without_the_memory_is_refused_and_one_with_little_is_warned_of(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(edge, "peak_memory", lambda path, shape, threads: 60.0)
    with pytest.raises(ExportError, match="Toaster has 59 MiB of memory, and a process with this model needs 60 MiB"):
        edged(bundle, device(tmp_path, 59))
    assert not (bundle.path.parent / "edge" / "toaster").exists()
    edged(bundle, device(tmp_path, 100))
    assert (
        "warning: a process with this model needs 60 MiB, more than 50% of the 100 MiB of Toaster"
        in capsys.readouterr().out
    )
    edged(bundle, device(tmp_path, 121))
    assert "warning" not in capsys.readouterr().out


def test_a_bundle_that_is_fixed_already_is_no_start(bundle: Bundle) -> None:
    made = edged(bundle, mode="none")
    with pytest.raises(BundleError, match="is fixed to 1 pictures a call"):
        edged(made)


@pytest.mark.parametrize(
    ("text", "size"), [("320x320", 320), ("320×320", 320), (" 96 x 96 ", 96), ("64", 64), (None, None)]
)
def test_sizes_are_read_as_people_write_them(text: str | None, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [("320x240", "is no square"), ("big", "is no size"), ("0x0", "is no size"), ("-8", "is no size")],
)
def test_other_sizes_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_size(text)


def test_next_steps_are_those_of_the_devices_runtime(bundle: Bundle) -> None:
    def steps(name: str) -> str:
        return edge_report.next_steps(bundle, read_device(name), RunFolder(bundle.path.parent))

    assert "trtexec --onnx=model.onnx --saveEngine" in steps("jetson-nano")
    assert f"export.py run={bundle.path.parent} target=coreml" in steps("iphone")
    assert "OpenVINO reads" in steps("intel-nuc")
    assert steps(PI).startswith("copy ")


def test_what_is_known_of_a_device_is_shown() -> None:
    unknown = Device("x", "X", None, "Arm", None, "onnx", ("fp32",))
    assert "memory not published; cores not known: 1 thread" in module._about(unknown)
    assert json.dumps(read_device(PI).precisions) == '["int8", "fp32"]'
