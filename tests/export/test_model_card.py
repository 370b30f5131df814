from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from markdown_it import MarkdownIt
from onnx import TensorProto, helper, numpy_helper

from mlstack.bundle.folder import read_bundle, seal, write_bundle
from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput
from mlstack.bundle.reference import Reference, light_of, write_reference
from mlstack.bundle.session import Session
from mlstack.export import model_card
from mlstack.export.card_figures import without_temperature
from mlstack.export.model_card import write_card
from mlstack.runs import RunFolder

SIZE, TEMPERATURE = 4, 2.0
CLASSES = ("a|b", "*grey* [cat](x)", "naïve <b>猫</b>")


def tiny_model(path: Path) -> None:
    """uint8 [batch, 4, 4, 1] → brightness times three weights, divided by a temperature, as probabilities."""
    weights = {"weights": np.full((16, 3), (0.01, 0.0, -0.01), np.float32), "T": np.float32(TEMPERATURE)}
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["features"]),
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        helper.make_node("Div", ["logits", "T"], ["cooler"]),
        helper.make_node("Softmax", ["cooler"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", SIZE, SIZE, 1])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 16]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def facts(**changes: Any) -> Metadata:
    """Metadata of a bundle with that model."""
    metadata = Metadata(
        name="digits_tiny",
        version="2026-11-22_10-00-00_ab12",
        created_at="2026-11-22T10:00:00+00:00",
        task="classification",
        input=PictureInput(SIZE, SIZE, 1, "crop", 5),
        output="probabilities",
        classes=CLASSES,
        features=16,
        batch=None,
        models=(
            ModelFile("model.onnx", "fp32", 0, {"val": {"accuracy": 0.99999, "loss": 0.25}, "test": {"loss": 0.5}}, {}),
        ),
        default="fp32",
        temperature=TEMPERATURE,
        calibration={"error_before": 0.12, "error_after": 0.03},
        parity={"images": 40, "relative_error": 3.2e-7, "agreement": 1.0},
        data={"name": "digits", "fingerprint": "ab" * 32, "images": {"train": 1000, "val": 40}},
        source={"engine": "lightning", "model": "tiny", "run": "2026", "git": {"commit": "c0ffee"}},
        versions={"onnx": "1.23.2"},
        files={},
    )
    return replace(metadata, **changes)


@pytest.fixture(autouse=True)
def _measured_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_card, "MEASURED_S", 0.05)


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """What a card is written for: the model, and a reference about 40 labelled pictures."""
    folder = tmp_path / "staging"
    folder.mkdir()
    fill(folder)
    return folder


def fill(folder: Path) -> None:
    tiny_model(folder / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 1), np.uint8)
    answers = Session(folder / "model.onnx").run(images)
    brightness, contrast = light_of(images)
    labels = np.arange(40, dtype=np.int64) % 3
    reference = Reference(
        images[:8],
        answers.output[:8],
        answers.output,
        answers.features.astype(np.float16),
        brightness,
        contrast,
        labels,
    )
    write_reference(folder / "reference.npz", reference)


def card(staging: Path, metadata: Metadata, run: RunFolder | None = None) -> str:
    write_card(staging, metadata, run=run)
    return (staging / "README.md").read_text(encoding="utf-8")


def test_the_example_in_the_card_runs_and_answers_as_the_model_does(staging: Path) -> None:
    text = card(staging, facts())
    (staging / "metadata.json").write_text(json.dumps({"classes": CLASSES}), encoding="utf-8")
    example = re.search(r"```python\n(.*?)\n```", text, re.DOTALL)
    assert example is not None
    said = subprocess.run(
        [sys.executable, "-c", example[1]], cwd=staging, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    golden = np.load(staging / "reference.npz")["golden_outputs"]
    assert said.stdout.splitlines() == [str(list(CLASSES)), str(golden.argmax(axis=1))]
    assert said.stderr == ""


def test_class_names_stand_in_the_card_as_they_are_and_make_no_markup(staging: Path) -> None:
    html = MarkdownIt("commonmark").enable("table").render(card(staging, facts()))
    assert "a|b, *grey* [cat](x), naïve &lt;b&gt;猫&lt;/b&gt;" in html
    assert "<b>" not in html


def test_of_many_classes_twenty_are_named_and_the_rest_counted(staging: Path) -> None:
    names = tuple(f"c{index}" for index in range(1000))
    text = card(staging, facts(classes=names[:3]))
    assert "Its 3 classes: c0, c1, c2." in text
    assert "c19, … (980 more in metadata.json)." in "\n".join(model_card._opening(facts(classes=names)))


def test_every_figure_and_number_in_the_card_is_one_of_the_facts(staging: Path) -> None:
    text = card(staging, facts())
    assert "| accuracy | 99.999 % | – |" in text
    assert "| loss | 0.25 | 0.5 |" in text
    assert "| same decision | 100.00 % |" in text
    assert "divided by 2, fitted on val. Expected calibration error there: 12.00 % before, 3.00 % after." in text
    assert f"fingerprint: `{'ab' * 32}`" in text
    assert "pictures: 1,000 train, 40 val" in text
    assert "code exported with: commit `c0ffee`" in text
    size = (staging / "model.onnx").stat().st_size
    assert re.search(rf"`model\.onnx` \| fp32 \| {size} bytes \| [\d.e-]+ ms \|", text)


def test_what_the_run_knows_stands_in_the_card_with_its_figures(staging: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.figures.mkdir(parents=True)
    for name in ("learning_curves", "confusion_matrix", "worst_mistakes"):
        (run.figures / f"{name}.png").write_bytes(b"png")
    run.update_results(
        command="scripts/train.py data=digits", epochs=4, git={"commit": "d1ce"}, parameters=1234, device="cpu"
    )
    text = card(staging, facts(), run)
    assert "trained by: `scripts/train.py data=digits`" in text
    assert "code trained with: commit `d1ce`" in text
    assert "- 1,234 parameters, 4 epochs, cpu\n" in text
    shown = re.findall(r"\]\((figures/.*?)\)", text)
    assert shown == [
        "figures/confusion_matrix.png",
        "figures/temperature.png",
        "figures/learning_curves.png",
    ]
    assert all((staging / name).is_file() for name in shown)


def test_what_is_not_known_is_said_to_be_unknown_and_has_no_figure(staging: Path) -> None:
    bare = ModelFile("model.onnx", "fp32", 0, {}, {})
    text = card(staging, facts(models=(bare,), parity={}, temperature=None, calibration={}, data={}, source={}))
    assert "Nobody has measured it: no labelled pictures were given." in text
    assert "Not compared with anything." in text
    assert "No temperature was fitted" in text
    assert not list(staging.glob("figures/*"))
    assert "## Figures" not in text
    assert "None" not in text


def test_a_bundle_with_its_card_and_figures_is_whole(tmp_path: Path) -> None:
    with write_bundle(tmp_path / "bundle") as folder:
        fill(folder)
        write_card(folder, facts())
        seal(folder, facts())
    assert {"README.md", "figures/temperature.png"} <= set(read_bundle(tmp_path / "bundle").metadata.files)


def test_the_temperature_is_taken_out_of_the_answers_again() -> None:
    logits = np.random.default_rng(1).normal(0, 5, (50, 4))

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    cooled = softmax(logits / 3).astype(np.float32)
    assert without_temperature(cooled, 3, "classification") == pytest.approx(softmax(logits), abs=1e-5)
    cooled = (1 / (1 + np.exp(-logits / 3))).astype(np.float32)
    assert without_temperature(cooled, 3, "multilabel") == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
