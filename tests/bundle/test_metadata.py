from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from whole_bundle import metadata

from mlstack.bundle.folder import read_bundle
from mlstack.bundle.metadata import NAME, SCHEMA_VERSION, from_json, plain_name, to_json, told_apart
from mlstack.errors import BundleError

PATH = Path("bundle/metadata.json")
DELETED = object()


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    text = files("mlstack.bundle").joinpath("metadata.schema.json").read_text(encoding="utf-8")
    Draft202012Validator.check_schema(json.loads(text))
    return Draft202012Validator(json.loads(text), format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.fixture
def stored(written: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((written / "metadata.json").read_text(encoding="utf-8"))
    return content


def changed(stored: dict[str, Any], place: str, value: object) -> str:
    """The text of metadata.json with another value at a place such as `input.height` or `models/0/file`."""
    owner: Any = stored
    *way, last = place.split("/")
    for step in way:
        owner = owner[int(step) if step.isdigit() else step]
    if value is DELETED:
        del owner[last]
    else:
        owner[last] = value
    return json.dumps(stored)


def test_what_is_written_fits_the_schema_and_is_read_as_it_was(written: Path, schema: Draft202012Validator) -> None:
    text = (written / "metadata.json").read_text(encoding="utf-8")
    schema.validate(json.loads(text))
    again = from_json(text, PATH)
    assert again == read_bundle(written).metadata
    assert to_json(again) == text


def test_numbers_that_json_does_not_know_become_null_and_metrics_nan_again(schema: Draft202012Validator) -> None:
    stored = json.loads(to_json(metadata()))
    assert stored["models"][0]["metrics"] == {"val": {"accuracy": 0.9, "roc_auc": None}}
    assert stored["parity"]["relative_error"] == pytest.approx(1e-6)
    assert stored["source"] == {"engine": None, "run": "outputs/run"}
    facts = {"model.onnx": {"sha256": "0" * 64, "bytes": 1}}
    text = json.dumps({**stored, "files": facts, "models": [{**stored["models"][0], "bytes": 1}]})
    schema.validate(json.loads(text))
    assert math.isnan(from_json(text, PATH).models[0].metrics["val"]["roc_auc"])


BROKEN: list[tuple[str, object]] = [
    ("name", DELETED),
    ("name", ""),
    ("name", "../../etc"),
    ("name", ".hidden"),
    ("name", "a/b"),
    ("name", "a b"),
    ("name", "猫"),
    ("name", "x" * 129),
    ("version", 3),
    ("version", "v1?"),
    ("created_at", "yesterday"),
    ("created_at", "2026-11-02T10:00:00"),
    ("task", "detection"),
    ("task", "regression"),  # which answers values
    ("input/height", 0),
    ("input/height", "8"),
    ("input/width", True),
    ("input/channels", 4),
    ("input/resize", "bicubic"),
    ("input/decoded_size", DELETED),
    ("input/colour", "bgr"),
    ("input", [8, 8]),
    ("output", "logits"),
    ("classes", []),
    ("classes", "cat"),
    ("classes", ["cat", 3]),
    ("features", 0),
    ("features", 2.5),
    ("batch", 0),
    ("batch", DELETED),
    ("models", []),
    ("models", {}),
    ("models/0/precision", "int4"),
    ("models/0/file", "../model.onnx"),
    ("models/0/file", "/etc/passwd"),
    ("models/0/bytes", -1),
    ("models/0/metrics/val", {"accuracy": "good"}),
    ("models/1/details", None),
    ("default", "best"),
    ("temperature", 0),
    ("temperature", "warm"),
    ("temperature", DELETED),
    ("calibration/error_after", "low"),
    ("parity", None),
    ("data", "digits"),
    ("files/model.onnx/sha256", "0" * 63),
    ("files/model.onnx/sha256", "Z" * 64),
    ("files/model.onnx/bytes", -1),
    ("files/..", {"sha256": "0" * 64, "bytes": 1}),
    ("files/weird name", {"sha256": "0" * 64, "bytes": 1}),
    ("files/.hidden", {"sha256": "0" * 64, "bytes": 1}),
    ("note", "hello"),
    ("schema_version", 0),
    ("schema_version", "1"),
    ("schema_version", DELETED),
]


@pytest.mark.parametrize(("place", "value"), BROKEN, ids=[f"{place}={value!r:.20}" for place, value in BROKEN])
def test_the_reader_and_the_schema_refuse_the_same(
    place: str, value: object, stored: dict[str, Any], schema: Draft202012Validator
) -> None:
    text = changed(stored, place, value)
    assert not schema.is_valid(json.loads(text))
    with pytest.raises(BundleError) as caught:
        from_json(text, PATH)
    first = caught.value.message
    field = {"task": "output" if value == "regression" else "task"}.get(place, place.split("/")[-1])
    assert str(PATH) in first
    assert field in first
    assert "\n" not in first
    assert len(first) < 300


def test_a_path_with_folders_stays_inside(stored: dict[str, Any], schema: Draft202012Validator) -> None:
    for name in ("figures/../../secret.png", "/secret.png", "figures//dot.png", "figures/"):
        text = json.dumps({**stored, "files": {**stored["files"], name: {"sha256": "0" * 64, "bytes": 1}}})
        assert not schema.is_valid(json.loads(text)), name
        with pytest.raises(BundleError, match="is not a plain path inside the bundle"):
            from_json(text, PATH)


def test_a_newer_schema_version_is_refused_with_both_versions(schema: Draft202012Validator) -> None:
    assert not schema.is_valid({"schema_version": 7})
    # Whatever else it says: the version is looked at first.
    with pytest.raises(BundleError, match=f"schema version 7; this installation reads versions up to {SCHEMA_VERSION}"):
        from_json(json.dumps({"schema_version": 7}), PATH)


CONTRADICTIONS: list[tuple[str, object, str]] = [  # beyond what the schema can say
    ("created_at", "2026-02-30T10:00:00+00:00", "created_at has to be a date and time"),
    ("default", "fp16", "default has to be the precision of one of the models"),
    ("models/1/precision", "fp32", r"models\[1\].precision has to be another one"),
    ("models/0/file", "other.onnx", r"models\[0\].file has to be one of files"),
    ("models/0/bytes", 7, r"models\[0\].bytes has to be"),
    ("input/decoded_size", 7, r"input.decoded_size has to be an integer of at least 8"),
]


@pytest.mark.parametrize(("place", "value", "message"), CONTRADICTIONS, ids=[place for place, *_ in CONTRADICTIONS])
def test_fields_that_contradict_each_other_are_refused(
    place: str, value: object, message: str, stored: dict[str, Any]
) -> None:
    with pytest.raises(BundleError, match=message):
        from_json(changed(stored, place, value), PATH)


UNREADABLE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "a list": lambda text: "[]",
    "NaN": lambda text: text.replace('"temperature": 1.5', '"temperature": NaN'),
    "half a character": lambda text: text.replace('"bright"', '"\\ud800"'),
    "an endless number": lambda text: text.replace('"features": 4', '"features": ' + "9" * 5000),
    "an enormous number": lambda text: text.replace('"temperature": 1.5', '"temperature": 1' + "0" * 400),
    "nested without end": lambda text: "[" * 100_000,
}


@pytest.mark.parametrize("spoil", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_text_that_is_no_such_json_is_one_line(spoil: Callable[[str], str], written: Path) -> None:
    with pytest.raises(BundleError, match=r"metadata\.json") as caught:
        from_json(spoil((written / "metadata.json").read_text(encoding="utf-8")), PATH)
    assert len(caught.value.message.splitlines()) == 1


def test_a_text_that_was_cut_off_anywhere_is_refused(written: Path) -> None:
    text = (written / "metadata.json").read_text(encoding="utf-8").rstrip()
    for length in range(0, len(text), 37):
        with pytest.raises(BundleError, match=r"metadata\.json is damaged"):
            from_json(text[:length], PATH)


@pytest.mark.parametrize("text", ["timm/vit tiny", "..", "", "数字", "a" * 300, "-x.", "digits_resnet18"])
def test_any_text_becomes_a_name_that_can_stand_in_an_address(text: str) -> None:
    assert NAME.fullmatch(plain_name(text))
    assert plain_name("timm/vit tiny") == "timm-vit-tiny"
    assert plain_name("digits_resnet18") == "digits_resnet18"


def test_names_that_come_twice_carry_their_number() -> None:
    assert told_apart(["crane", "cat", "crane"]) == ["crane (0)", "cat", "crane (2)"]
    assert told_apart(["a", "b"]) == ["a", "b"]


def test_a_plain_name_has_128_characters_at_most() -> None:
    assert plain_name("x" * 129) == "x" * 128
    assert plain_name(" .-. ") == "model"
