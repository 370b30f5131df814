"""Whoever is asked about a photograph sees the same pixels: the service, predict.py, and the reader of data sets.

A bundle is evaluated on what `PictureRule.read` makes of files, and so is the network while it is trained.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from input_cases import FORM, form, photographs
from numpy.typing import NDArray
from running_service import running
from tiny_bundles import make_bundle

from mlstack.bundle.folder import Bundle, read_bundle, seal, write_bundle
from mlstack.bundle.metadata import PictureInput
from mlstack.bundle.session import Session
from mlstack.commands.predict import predict
from mlstack.config.commands import PredictConfig
from mlstack.datasets.decode import PictureRule
from mlstack.utils.journal_files import read_records

INPUTS = {"crop": PictureInput(32, 32, 3, "crop", 37), "pad": PictureInput(32, 32, 3, "pad", 32)}
CLASSES = 10


@cache
def files() -> dict[str, bytes]:
    """Photographs of every kind, near the model's size, and much larger: those are decoded at a part of their size."""
    return {
        f"{size}.{name}": data
        for size, pixels in (("small", (60, 44)), ("large", (310, 470)))
        for name, data in photographs(pixels).items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs as files."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, data in files().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The same model with two rules."""
    root = tmp_path_factory.mktemp("same")
    model = make_bundle(root / "model", size=32, channels=3, classes=CLASSES)
    for rule, picture in INPUTS.items():
        with write_bundle(root / rule) as staging:
            for name in ("model.onnx", "reference.npz"):
                shutil.copy(model.path / name, staging / name)
            seal(staging, replace(model.metadata, input=picture, files={}))
    return {rule: read_bundle(root / rule) for rule in INPUTS}


@dataclass
class Seen:
    """What the service made of photographs, by rule and file.

    Attributes:
        pixels: uint8 [32, 32, 3] that its model got.
        answers: Its predictions.
        together: Those of all photographs in one request.
    """

    pixels: dict[tuple[str, str], NDArray[np.uint8]]
    answers: dict[tuple[str, str], Any]
    together: dict[str, list[Any]]


@pytest.fixture(scope="module")
def seen(bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Seen:
    journal = tmp_path_factory.mktemp("journal") / "pixels"
    words = [f"bundle=[{','.join(str(one.path) for one in bundles.values())}]", f"serve.journal.folder={journal}"]
    answers, together = {}, {}
    default, *_ = bundles
    with running(*words, "serve.journal.fraction=1", "serve.access_log=false", "serve.drift.enabled=false") as service:
        for rule in bundles:
            address = "/predict_image" if rule == default else f"/v1/models/{rule}/predict"
            for name, data in files().items():
                body = form(("file", name, data))
                request = {"content_type": FORM, "x_request_id": f"{rule}--{name}"}
                told = service.ask("POST", f"{address}?top_k={CLASSES}", body, **request)
                assert told.status == 200, (name, told.body)
                [answers[rule, name]] = told.json["predictions"]
            body = form(*(("file", name, data) for name, data in files().items()))
            told = service.ask("POST", f"{address}?top_k={CLASSES}", body, content_type=FORM)
            together[rule] = told.json["predictions"]
        assert service.stop() == 0
    pixels = {}
    for record in read_records(journal):
        kept = record.read()
        assert kept
        pixels[record.model, record.request_id.partition("--")[2]] = kept[0][0]
    return Seen(pixels, answers, together)


def read(bundle: Bundle, paths: list[Path]) -> NDArray[np.uint8]:
    """What evaluation and training see: uint8 [n, 32, 32, 3]."""
    picture = bundle.metadata.input
    rule = PictureRule((picture.height, picture.width), picture.decoded_size, picture.channels, picture.resize)
    return rule.read(paths)


def rows(answers: list[Any], names: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([[one["probabilities"][name] for name in names] for one in answers])


@pytest.mark.parametrize("rule", INPUTS)
def test_the_service_shows_its_model_the_very_pixels_of_evaluation(
    bundles: dict[str, Bundle], folder: Path, seen: Seen, rule: str
) -> None:
    names = list(files())
    expected = read(bundles[rule], [folder / name for name in names])
    assert len({one.tobytes() for one in expected}) > len(names) / 2  # they are not all alike
    for name, pixels in zip(names, expected, strict=True):
        np.testing.assert_array_equal(seen.pixels[rule, name], pixels, err_msg=name)


@pytest.mark.parametrize("rule", INPUTS)
def test_service_script_and_session_give_the_same_classes_and_probabilities(
    bundles: dict[str, Bundle], folder: Path, seen: Seen, tmp_path: Path, rule: str
) -> None:
    bundle, table = bundles[rule], tmp_path / "table.json"
    names = list(files())
    paths = [folder / name for name in names]
    predict(
        PredictConfig(bundle=str(bundle.path), input=[str(path) for path in paths], output=str(table), top_k=CLASSES)
    )
    told = json.loads(table.read_text())
    output = Session(bundle.model()).run(read(bundle, paths)).output
    served = [seen.answers[rule, name] for name in names]
    assert [one["class"] for one in served] == [one["class"] for one in told]
    assert [one["index"] for one in served] == output.argmax(axis=1).tolist()
    for other in (rows(served, bundle.metadata.classes), rows(told, bundle.metadata.classes)):
        np.testing.assert_allclose(other, output, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", INPUTS)
def test_many_photographs_of_one_request_are_answered_as_each_alone(seen: Seen, rule: str) -> None:
    alone = [seen.answers[rule, name] for name in files()]
    names = tuple(alone[0]["probabilities"])
    np.testing.assert_allclose(rows(seen.together[rule], names), rows(alone, names), rtol=0, atol=1e-6)
