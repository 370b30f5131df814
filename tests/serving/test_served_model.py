from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_bundles import make_bundle, make_model

from mlstack.bundle.folder import Bundle, seal
from mlstack.bundle.reference import read_reference, write_reference
from mlstack.bundle.session import Session, SessionAnswers, runtime
from mlstack.config.serving import ServeSettings
from mlstack.datasets.decode import PictureRule
from mlstack.errors import BundleError, HardwareError
from mlstack.serving import served_model
from mlstack.serving.scheduler import Scheduler
from mlstack.serving.served_model import CPU, CUDA, ServedModel, load_model, providers_for


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(1, queue_images=100, queue_bytes=10**7)
    yield scheduler
    scheduler.close()


def loaded(bundle: Bundle, scheduler: Scheduler, **settings: Any) -> ServedModel:
    return load_model(bundle.path, label="tiny", settings=ServeSettings(device="cpu", **settings), scheduler=scheduler)


def damaged(bundle: Bundle, **changes: Any) -> Bundle:
    """The bundle with other arrays in reference.npz, sealed again: its checksums are right."""
    path = bundle.path / "reference.npz"
    write_reference(path, replace(read_reference(path, bundle.metadata), **changes))
    return replace(bundle, metadata=seal(bundle.path, bundle.metadata))


def test_a_loaded_model_answers_as_its_file_does(tmp_path: Path, scheduler: Scheduler) -> None:
    bundle = make_bundle(tmp_path / "tiny", version="7")
    model = loaded(bundle, scheduler)
    images = read_reference(bundle.path / "reference.npz", bundle.metadata).golden_images
    answer = asyncio.run(model.lane.submit(images))
    np.testing.assert_array_equal(answer.output, Session(bundle.model()).run(images).output)
    assert (model.label, model.metadata.version, model.precision, model.provider) == ("tiny", "7", "fp32", CPU)
    assert model.rule == PictureRule((8, 8), 8, 1, "crop")
    assert model.picture == bundle.metadata.input
    assert 0 < model.load_s < 60


def test_the_precision_that_is_asked_for_is_served(tmp_path: Path, scheduler: Scheduler) -> None:
    bundle = make_bundle(tmp_path / "tiny", precisions=("fp32", "int8"), default="fp32", width=1)
    assert loaded(bundle, scheduler).precision == "fp32"
    assert loaded(bundle, scheduler, precision="int8").precision == "int8"
    with pytest.raises(BundleError, match="has no fp16 model"):
        loaded(bundle, scheduler, precision="fp16")


@pytest.mark.parametrize("batch", [1, 3])
def test_a_model_with_a_fixed_batch_is_never_asked_for_more(batch: int, tmp_path: Path, scheduler: Scheduler) -> None:
    bundle = make_bundle(tmp_path / "tiny", batch=batch)
    model = loaded(bundle, scheduler)
    assert model.lane.max_batch == batch
    images = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 1), dtype=np.uint8)
    answer = asyncio.run(model.lane.submit(images))
    np.testing.assert_allclose(answer.output, Session(bundle.model()).run(images).output, rtol=1e-5)


def test_batches_that_will_come_are_tried_beforehand(
    tmp_path: Path, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    class Counting(Session):
        def run(self, images: Any) -> SessionAnswers:
            sizes.append(len(images))
            return super().run(images)

    bundle = make_bundle(tmp_path / "tiny")
    monkeypatch.setattr(served_model, "Session", Counting)
    loaded(bundle, scheduler, max_batch=24)
    assert sizes == [4, 4]  # the golden pictures
    sizes.clear()
    monkeypatch.setattr(served_model, "CPU", "another one")
    loaded(bundle, scheduler, max_batch=24)
    assert sizes == [4, 4, 1, 2, 4, 8, 16, 24]


@pytest.mark.parametrize(("together_s", "most"), [(0.8, 8), (1.0, 1), (1.2, 1)])
def test_batches_are_made_only_where_they_are_faster(
    together_s: float, most: int, tmp_path: Path, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "tiny")

    def timed(_: Session, images: Any) -> float:
        return len(images) * (1.0 if len(images) == 1 else together_s)

    monkeypatch.setattr(served_model, "_timed", timed)
    assert loaded(bundle, scheduler).lane.max_batch == most
    assert loaded(bundle, scheduler, max_batch=5).lane.max_batch == 5


def test_one_time_that_is_too_long_does_not_decide_about_batches(
    tmp_path: Path, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    disturbed = iter([True, False, True])  # the first time of either size, then of a batch

    def timed(_: Session, images: Any) -> float:
        share = 1.0 if len(images) == 1 else 0.8
        return 0.001 * len(images) * share * (3 if len(images) > 1 and next(disturbed, False) else 1)

    monkeypatch.setattr(served_model, "_timed", timed)
    assert loaded(bundle, scheduler).lane.max_batch == 8


@pytest.mark.parametrize(("alone", "together", "most"), [(0.0010, 0.0039, 1), (0.0010, 0.0037, 8), (0.0011, 0.0039, 8)])
def test_the_least_time_of_either_size_decides_about_batches(
    alone: float, together: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {1: iter([0.009, 0.005, *[alone] * 9]), 4: iter([0.006, *[together] * 9])}  # first the warm-up, then slow
    monkeypatch.setattr(served_model, "_timed", lambda _, images: next(times[len(images)]))
    session = SimpleNamespace(provider=CPU)
    assert served_model._fastest_batch(session, np.zeros((3, 2, 2, 1), np.uint8)) == most  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [2, 4])
def test_a_model_that_answers_more_or_fewer_numbers_than_at_its_export_is_refused(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = SimpleNamespace(golden_images=np.zeros((5, 2, 2, 1), np.uint8), golden_outputs=np.ones((5, 3)))
    monkeypatch.setattr(served_model, "read_reference", lambda *_: reference)
    session = SimpleNamespace(
        path="model.onnx", run=lambda images: SimpleNamespace(output=np.ones((len(images), classes)))
    )
    bundle = SimpleNamespace(path=Path("bundle"), metadata=None)
    with pytest.raises(BundleError, match=rf"model.onnx answers \[5, {classes}\], expected \[5, 3\]"):
        served_model._check_answers(session, bundle, None)  # type: ignore[arg-type]


def test_a_bundle_that_was_changed_is_refused(tmp_path: Path, scheduler: Scheduler) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    make_model(bundle.path / "model.onnx", seed=1)
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        loaded(bundle, scheduler)


@pytest.mark.parametrize("wrong", ["other", "nan"])
def test_a_model_that_answers_otherwise_than_at_its_export_is_refused(
    wrong: str, tmp_path: Path, scheduler: Scheduler
) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    golden = read_reference(bundle.path / "reference.npz", bundle.metadata).golden_outputs
    bundle = damaged(bundle, golden_outputs=golden[::-1] if wrong == "other" else golden * np.nan)
    with pytest.raises(BundleError, match=r"model\.onnx answers otherwise than at its export"):
        loaded(bundle, scheduler)


def test_what_was_measured_at_export_widens_what_is_allowed(tmp_path: Path, scheduler: Scheduler) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    golden = read_reference(bundle.path / "reference.npz", bundle.metadata).golden_outputs
    bundle = damaged(bundle, golden_outputs=golden * 1.02)
    with pytest.raises(BundleError, match=r"allowed 0\.001"):
        loaded(bundle, scheduler)
    metadata = json.loads((bundle.path / "metadata.json").read_text())
    metadata["models"][0]["details"] = {"golden_error": 0.02}
    (bundle.path / "metadata.json").write_text(json.dumps(metadata))
    assert loaded(bundle, scheduler).label == "tiny"


def test_a_model_that_does_not_fit_its_metadata_is_refused(tmp_path: Path, scheduler: Scheduler) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    make_model(bundle.path / "model.onnx", size=9)
    seal(bundle.path, bundle.metadata)
    with pytest.raises(BundleError, match="takes pictures"):
        loaded(bundle, scheduler)


def test_no_bundle_is_one_line(tmp_path: Path, scheduler: Scheduler) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    shutil.rmtree(bundle.path)
    with pytest.raises(BundleError, match="no bundle there"):
        loaded(bundle, scheduler)


def test_the_device_is_chosen_from_what_the_runtime_has(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = runtime("a test")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    assert providers_for("auto") == providers_for("cpu") == (CPU,)
    with pytest.raises(HardwareError, match=r"serve\.device=cuda: this build of ONNX Runtime does not run there"):
        providers_for("cuda")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    assert providers_for("auto") == providers_for("cuda") == (CUDA, CPU)
    assert providers_for("cpu") == (CPU,)
