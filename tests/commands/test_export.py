from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.bundle.folder import find_bundle, read_bundle
from mlstack.bundle.reference import REFERENCE, count_classes, read_reference
from mlstack.bundle.session import Session
from mlstack.commands.evaluate import on_this_machine
from mlstack.commands.export import export
from mlstack.commands.train import train
from mlstack.commands.verify_bundle import verify_bundle
from mlstack.config import Config
from mlstack.config.export import ExportConfig, QuantizeConfig, VerifyBundleConfig
from mlstack.config.trainer import ENGINES
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.errors import ExportError, OutputError, RunError
from mlstack.export import run_bundle
from mlstack.export.bundle_data import hold_out
from mlstack.export.pictures import HeldOutSource
from mlstack.runs import RunFolder, find_run

pytestmark = pytest.mark.framework

# Where the engine makes no difference, the first one that is there is enough.
with_one_engine = pytest.mark.parametrize("engine", ENGINES[:1], indirect=True)


def copied(run: RunFolder, place: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run.path, place)))


@pytest.fixture(scope="module")
def exported(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The trained run, moved to another place and exported there. Look, don't touch."""
    run = copied(trained, tmp_path_factory.mktemp("exported") / "outputs" / "digits" / "moved")
    export(ExportConfig(run=str(run.path)))
    return run


def predicted(run: RunFolder, split: str) -> np.ndarray:
    """What the network answers in its framework."""
    settings = on_this_machine(run.read_config(), accelerator="cpu")
    source = HeldOutSource(hold_out(load_dataset(settings.data), split), batch_size=50)
    return create_engine(settings.trainer.engine).predict(settings, source, run=run).outputs


def pictures(run: RunFolder, split: str) -> np.ndarray:
    dataset = load_dataset(run.read_config().data)
    return np.concatenate(list(hold_out(dataset, split).images(64)))


def test_a_run_becomes_a_bundle_that_tells_where_it_comes_from(exported: RunFolder) -> None:
    metadata = read_bundle(exported.path / "bundle").metadata
    assert (metadata.name, metadata.version, metadata.task) == ("digits_tiny", "moved", "classification")
    assert (metadata.output, metadata.classes, metadata.batch) == ("probabilities", tuple("0123456789"), None)
    assert (metadata.input.height, metadata.input.width, metadata.input.channels) == (8, 8, 1)
    assert metadata.features == 16 * 4 * 4
    assert metadata.data["images"] == {"train": 1458, "val": 160, "test": 179}
    assert metadata.data["fingerprint"] == exported.read_results()["data"]["fingerprint"]
    assert {"engine", "model", "run", "checkpoint", "git"} == set(metadata.source)
    assert {"onnx", "onnxruntime"} <= set(metadata.versions)
    assert {"model.onnx", "reference.npz", "README.md"} <= set(metadata.files)
    assert (metadata.default, [model.precision for model in metadata.models]) == ("fp32", ["fp32"])


def test_no_file_of_a_bundle_names_a_folder_of_this_machine(exported: RunFolder) -> None:
    for path in (exported.path / "bundle").rglob("*.*"):
        if path.suffix in (".onnx", ".json", ".npz"):
            assert str(exported.path.parent.parent).encode() not in path.read_bytes(), path.name
            assert str(Path.home()).encode() not in path.read_bytes(), path.name


def test_the_bundle_answers_as_the_network_does_but_for_the_temperature(exported: RunFolder) -> None:
    bundle = read_bundle(exported.path / "bundle")
    temperature = bundle.metadata.temperature
    assert temperature is not None
    own = predicted(exported, "test").astype(np.float64) ** (1 / temperature)
    output = Session(bundle.model()).run(pictures(exported, "test")).output
    assert output == pytest.approx(own / own.sum(axis=1, keepdims=True), abs=1e-5)
    parity = bundle.metadata.parity
    assert parity["images"] == 160
    assert parity["relative_error"] < 1e-5
    assert (parity["agreement_clear"], parity["max_error"]) == (1, 1e-3)


@pytest.mark.parametrize("count", [1, 3, 17])
def test_any_number_of_pictures_can_be_asked_about(count: int, exported: RunFolder) -> None:
    session = Session(exported.path / "bundle" / "model.onnx")
    images = pictures(exported, "test")[:17]
    assert session.run(images[:count]).output == pytest.approx(session.run(images).output[:count], abs=1e-6)


def test_metrics_are_those_of_the_run_and_calibration_is_told_for_both_splits(exported: RunFolder) -> None:
    metadata = read_bundle(exported.path / "bundle").metadata
    trained = exported.read_results()["metrics"]["test"]
    metrics = metadata.models[0].metrics
    assert metrics["test"]["accuracy"] == trained["accuracy"]
    assert set(metrics) == {"val", "test"}
    errors = metadata.calibration
    assert errors["error_after"] < errors["error_before"]
    assert errors["test_error_after"] == pytest.approx(metrics["test"]["calibration_error"])
    assert errors["test_error_before"] == pytest.approx(trained["calibration_error"], abs=1e-5)


@with_one_engine
def test_classes_are_counted_over_all_of_val_and_not_only_over_the_pictures_that_are_kept(
    trained: RunFolder, tmp_path: Path
) -> None:
    run = copied(trained, tmp_path / "run")
    export(ExportConfig(run=str(run.path), parity_images=40))
    bundle = read_bundle(run.path / "bundle")
    reference = read_reference(bundle.path / REFERENCE, bundle.metadata)
    assert (len(reference.outputs), reference.counted) == (40, 160)
    expected = np.bincount(predicted(run, "val").argmax(axis=1), minlength=10)
    assert np.array_equal(reference.class_counts, expected)


def test_the_reference_holds_golden_pictures_with_their_answers(exported: RunFolder) -> None:
    bundle = read_bundle(exported.path / "bundle")
    reference = read_reference(bundle.path / REFERENCE, bundle.metadata)
    assert len(reference.golden_images) == 8
    assert (reference.outputs.shape, reference.features.shape) == ((160, 10), (160, 256))
    assert len(np.unique(reference.golden_images.reshape(8, -1), axis=0)) == 8
    dataset = load_dataset(exported.read_config().data)
    assert np.array_equal(reference.labels, dataset.splits["val"].labels)
    verify_bundle(VerifyBundleConfig(bundle=str(exported.path)))


@with_one_engine
def test_what_came_out_is_said_and_what_to_type_next(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained, tmp_path / "outputs" / "digits" / "run")
    config = ExportConfig(output_dir=str(tmp_path / "outputs"), calibrate=False, name="my digits!", version="v 2")
    export(config)
    shown = capsys.readouterr().out
    assert "parity      160 val images: relative error " in shown
    assert "same answer for 100.00%" in shown
    assert "calibration none" in shown
    assert f"written: {run.path / 'bundle'}" in shown
    assert "python scripts/benchmark.py bundle=latest" in shown
    metadata = read_bundle(find_bundle("latest", output_dir=tmp_path / "outputs")).metadata
    assert (metadata.name, metadata.version, metadata.temperature) == ("my-digits", "v-2", None)
    assert metadata.calibration == {}


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_labels_and_numbers_become_bundles_too(
    task: str, table_run: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    run = copied(table_run(task), tmp_path / "run")
    export(ExportConfig(run=str(run.path)))
    bundle = read_bundle(run.path / "bundle")
    metadata = bundle.metadata
    assert (metadata.task, metadata.output) == (task, {"multilabel": "probabilities", "regression": "values"}[task])
    output, own = Session(bundle.model()).run(pictures(run, "test")).output, predicted(run, "test")
    if task == "regression":
        assert (metadata.temperature, metadata.calibration) == (None, {})
        assert output == pytest.approx(own, rel=1e-4)
    else:
        powers = np.stack([own, 1 - own]).astype(np.float64) ** (1 / (metadata.temperature or 1))
        assert output == pytest.approx(powers[0] / powers.sum(axis=0), abs=1e-3)
    counts = count_classes(predicted(run, "val"), task)
    reference = read_reference(bundle.path / REFERENCE, metadata)
    assert (reference.class_counts.tolist(), reference.counted) == (counts[0].tolist(), counts[1])
    assert reference.counted == (0 if task == "regression" else metadata.data["images"]["val"])


def test_a_network_that_the_bundle_would_not_answer_like_leaves_no_bundle(
    engine: str, configure: Callable[..., Config], tmp_path: Path
) -> None:
    train(configure(model__target=f"tiny_networks_{engine}:moody", trainer__max_epochs=1))
    run = find_run("latest", output_dir=tmp_path / "outputs")
    with pytest.raises(ExportError, match=r"not answer as tiny_\w+:moody does on 40 val images: relative error"):
        export(ExportConfig(run=str(run.path)))
    assert not [path.name for path in run.path.iterdir() if "bundle" in path.name]


@with_one_engine
def test_an_export_that_is_stopped_leaves_the_old_bundle_whole(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(trained, tmp_path / "run")
    export(ExportConfig(run=str(run.path)))
    before = read_bundle(run.path / "bundle").metadata

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_bundle, "write_card", stop)
    with pytest.raises(KeyboardInterrupt):
        export(ExportConfig(run=str(run.path), version="second"))
    assert read_bundle(run.path / "bundle").metadata == before
    assert [path.name for path in run.path.iterdir() if "bundle" in path.name] == ["bundle"]


@with_one_engine
def test_int8_stands_beside_the_model_and_is_what_is_served(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained, tmp_path / "run")
    export(ExportConfig(run=str(run.path), quantize=QuantizeConfig(mode="int8", max_drop=5, images=64)))
    bundle = read_bundle(run.path / "bundle")
    assert [model.precision for model in bundle.metadata.models] == ["fp32", "int8"]
    assert (bundle.metadata.default, bundle.model().name) == ("int8", "model.int8.onnx")
    smaller = bundle.metadata.models[1]
    assert set(smaller.metrics) == {"val", "test"}
    assert smaller.details["drop"] <= 5
    assert "model.int8.onnx" in capsys.readouterr().out
    verify_bundle(VerifyBundleConfig(bundle=str(run.path)))


@with_one_engine
def test_a_budget_that_can_not_be_kept_leaves_no_bundle(trained: RunFolder, tmp_path: Path) -> None:
    run = copied(trained, tmp_path / "run")
    shutil.rmtree(run.path / "bundle", ignore_errors=True)
    with pytest.raises(ExportError, match="max_drop"):
        # Nothing that is rounded to 8 bits stays within a budget of less than nothing.
        export(ExportConfig(run=str(run.path), quantize=QuantizeConfig(mode="dynamic", max_drop=-100)))
    assert not (run.path / "bundle").exists()


@with_one_engine
def test_other_data_than_those_of_the_training_are_noted(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained, tmp_path / "run")
    config = run.read_config()
    config.data.split_seed = 1
    run.write_config(config)
    export(ExportConfig(run=str(run.path), output=str(tmp_path / "elsewhere")))
    assert "another fingerprint" in capsys.readouterr().out
    assert read_bundle(tmp_path / "elsewhere").metadata.parity["agreement_clear"] == 1


@with_one_engine
def test_what_is_not_there_is_one_message(trained: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run"):
        export(ExportConfig(output_dir=str(tmp_path / "none")))
    run = copied(trained, tmp_path / "run")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="taken"):
        export(ExportConfig(run=str(run.path), output=str(tmp_path / "taken")))
    assert (tmp_path / "taken" / "diary.txt").read_text() == "mine"
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError, match="has no best checkpoint"):
        export(ExportConfig(run=str(run.path)))


def test_bundles_of_all_engines_promise_the_same(exported: RunFolder) -> None:
    """The other engines' bundles are compared with the same words."""
    metadata = json.loads((exported.path / "bundle" / "metadata.json").read_text())
    session = Session(exported.path / "bundle" / "model.onnx")
    assert (session.shape, session.batch, session.output) == ((8, 8, 1), None, "probabilities")
    assert list(metadata) == [
        *("name", "version", "created_at", "task", "input", "output", "classes", "features", "batch", "models"),
        *("default", "temperature", "calibration", "parity", "data", "source", "versions", "files", "schema_version"),
    ]
