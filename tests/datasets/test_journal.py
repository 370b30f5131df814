from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundles import make_bundle

from mlstack.bundle.metadata import Metadata
from mlstack.config import DataConfig
from mlstack.datasets import SPLITS, Dataset, load_dataset
from mlstack.errors import ConfigError, DataError, MLStackError
from mlstack.serving.journal import Journal

LARGE = 1 << 30
Sent = dict[str, tuple[NDArray[np.uint8], Sequence[Any]]]


def requests(count: int, *, classes: int = 3, size: int = 8, channels: int = 1, first: int = 0) -> Sent:
    """Request id → pictures and their true labels."""
    random = np.random.default_rng(first)
    return {
        f"r{number}": (
            random.integers(0, 256, (1 + number % 2, size, size, channels), dtype=np.uint8),
            [f"class_{random.integers(classes)}" for _ in range(1 + number % 2)],
        )
        for number in range(first, first + count)
    }


def write(folder: Path, metadata: Metadata, sent: Sent, *, model: str = "stable") -> Path:
    """A journal as a server writes it."""
    journal = Journal(folder, fraction=1, max_bytes=LARGE)
    for name, (images, _) in sent.items():
        journal.record(name, model, metadata, images, np.zeros((len(images), len(metadata.classes)), np.float32))
    for name, (_, labels) in sent.items():
        if labels:
            journal.feedback(name, labels)
    journal.close()
    return folder


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Metadata:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "three", classes=3).metadata


def load(folder: Path, **settings: Any) -> Dataset:
    return load_dataset(DataConfig(name="journal", path=str(folder), **settings))


def content(dataset: Dataset) -> dict[str, tuple[str, bytes, Any]]:
    """Name of each picture → its split, its pixels and its label."""
    found = {}
    for part, split in dataset.splits.items():
        pixels = split.images.read(np.arange(len(split)))
        for name, picture, label in zip(split.names, pixels, split.labels, strict=True):
            found[name] = (part, picture.tobytes(), label.tolist())
    return found


def test_pictures_and_labels_are_exactly_those_that_were_recorded(tmp_path: Path, metadata: Metadata) -> None:
    sent = requests(80)
    dataset = load(write(tmp_path / "journal", metadata, sent))
    assert (dataset.name, dataset.classes, dataset.task) == ("journal", metadata.classes, "classification")
    assert (dataset.image_size, dataset.channels) == (8, 1)
    assert set(dataset.splits) == set(SPLITS)
    assert len(dataset.splits["train"]) > len(dataset.splits["test"]) > 0
    expected = {
        f"{name}/{row}": (image.tobytes(), metadata.classes.index(label))
        for name, (images, labels) in sent.items()
        for row, (image, label) in enumerate(zip(images, labels, strict=True))
    }
    assert {name: (pixels, label) for name, (_, pixels, label) in content(dataset).items()} == expected


def test_pictures_without_a_label_stay_out_and_a_later_label_wins(tmp_path: Path, metadata: Metadata) -> None:
    sent = requests(60)
    sent["r1"] = (sent["r1"][0], [None, "class_2"])
    sent["r3"] = (sent["r3"][0], [])
    folder = write(tmp_path / "journal", metadata, sent)
    journal = Journal(folder, fraction=1, max_bytes=LARGE)  # the server was started again
    journal.feedback("r1", [None, "class_0"])
    journal.feedback("r5", ["class_1", None])
    journal.feedback("unknown", ["class_1"])
    journal.close()
    found = content(load(folder))
    assert {"r1/0", "r3/0", "r3/1", "unknown/0"}.isdisjoint(found)
    assert found["r1/1"][2] == 0
    assert found["r5/0"][2] == 1
    assert found["r5/1"][2] == metadata.classes.index(sent["r5"][1][1])


def test_a_request_id_that_is_sent_again_does_not_inherit_the_old_label(tmp_path: Path, metadata: Metadata) -> None:
    folder = write(tmp_path / "journal", metadata, requests(60))
    other = np.zeros((1, 8, 8, 1), np.uint8)
    write(folder, metadata, {"r2": (other, []), "r4": (other, ["class_1"])})
    found = content(load(folder))
    assert "r2/0" not in found
    assert found["r4/0"][1:] == (other.tobytes(), 1)


def test_a_journal_that_grows_moves_no_picture_to_another_split(tmp_path: Path, metadata: Metadata) -> None:
    folder = write(tmp_path / "journal", metadata, requests(60))
    before = load(folder)
    assert load(folder).fingerprint == before.fingerprint
    write(folder, metadata, requests(200, first=60))
    after = load(folder)
    assert after.fingerprint != before.fingerprint
    assert content(before).items() <= content(after).items()
    parts = {name.partition("/")[0]: part for name, (part, _, _) in content(after).items()}
    assert all(parts[name.partition("/")[0]] == part for name, (part, _, _) in content(after).items())
    shares = [len(after.splits[part]) / len(content(after)) for part in SPLITS]
    assert shares == pytest.approx([0.81, 0.09, 0.1], abs=0.06)
    assert {name: part for name, (part, *_) in content(load(folder, split_seed=1)).items()} != {
        name: part for name, (part, *_) in content(after).items()
    }


@pytest.mark.parametrize(
    ("task", "labels", "learnt"),
    [
        ("multilabel", [["class_0", "class_2"]], [1.0, 0.0, 1.0]),
        ("regression", [[1.5, -2, 3]], [1.5, -2.0, 3.0]),
        ("regression", [{"class_0": 1, "class_1": 2, "class_2": 3}], [1.0, 2.0, 3.0]),
    ],
)
def test_other_tasks_have_their_labels(tmp_path: Path, task: str, labels: list[Any], learnt: list[float]) -> None:
    made = make_bundle(tmp_path / "bundle", classes=3, task=task).metadata
    sent = {name: (images[:1], labels) for name, (images, _) in requests(60).items()}
    dataset = load(write(tmp_path / "journal", made, sent), task=task)
    assert dataset.task == task
    assert dataset.splits["train"].labels[0].tolist() == learnt
    with pytest.raises(ConfigError, match=f"data.task=classification, but .* {task}"):
        load(tmp_path / "journal")


def test_the_config_resizes_and_renames(tmp_path: Path, metadata: Metadata) -> None:
    dataset = load(write(tmp_path / "j", metadata, requests(60)), image_size=12, channels=3, classes=["a", "b", "c"])
    assert dataset.splits["train"].images.read(np.arange(1)).shape == (1, 12, 12, 3)
    assert dataset.classes == ("a", "b", "c")


def test_of_several_shapes_the_model_is_named(tmp_path: Path, metadata: Metadata) -> None:
    folder = write(tmp_path / "journal", metadata, requests(60))
    colour = make_bundle(tmp_path / "colour", classes=3, size=12, channels=3).metadata
    write(folder, colour, requests(60, size=12, channels=3, first=1000), model="canary")
    with pytest.raises(DataError, match="2 shapes or lists of classes") as error:
        load(folder)
    assert all(text in str(error.value) for text in ("data.args.model=NAME", "model stable", "model canary", "12x12x3"))
    assert load(folder, args={"model": "stable"}).image_size == 8
    assert load(folder, args={"model": "canary"}).image_size == 12


def test_of_a_model_that_learnt_new_classes_the_newest_are_taken(
    tmp_path: Path, metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path / "journal", metadata, requests(60))
    four = make_bundle(tmp_path / "four", classes=4).metadata
    write(folder, four, requests(60, classes=4, first=1000))
    with caplog.at_level(logging.WARNING):
        assert load(folder, args={"model": "stable"}).classes == four.classes
    assert "the newest" in caplog.text


def test_labels_that_fit_no_class_and_damaged_pictures_are_left_out_with_a_warning(
    tmp_path: Path, metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    sent = requests(60)
    sent["r0"] = (sent["r0"][0], ["bird"])
    folder = write(tmp_path / "journal", metadata, sent)
    images = next(folder.rglob("images.u8"))
    data = bytearray(images.read_bytes())
    data[70] ^= 255  # of r1's first picture
    images.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        found = content(load(folder))
    assert {"r0/0", "r1/0", "r1/1"}.isdisjoint(found)
    assert len(found) == 90 - 3
    assert "bird" in caplog.text
    assert "2 pictures of the journal are damaged" in caplog.text


def test_a_server_that_writes_meanwhile_is_no_hindrance(tmp_path: Path, metadata: Metadata) -> None:
    folder = write(tmp_path / "journal", metadata, requests(60))
    (folder / ".deleted-segment-000000").mkdir()
    (folder / "segment-000009" / "8x8x1-half").mkdir(parents=True)
    assert len(content(load(folder))) == 90
    journal = Journal(folder, fraction=1, max_bytes=LARGE)
    journal.record("new", "stable", metadata, np.zeros((1, 8, 8, 1), np.uint8), np.zeros((1, 3), np.float32))
    assert len(content(load(folder))) == 90
    journal.close()
    assert not (folder / ".deleted-segment-000000").exists()


def test_each_mistake_ends_in_one_clear_message(tmp_path: Path, metadata: Metadata) -> None:
    (tmp_path / "empty").mkdir()
    silent = {name: (images, []) for name, (images, _) in requests(30).items()}
    write(tmp_path / "silent", metadata, silent)
    single = {name: (images, ["class_1"] * len(images)) for name, (images, _) in requests(30).items()}
    write(tmp_path / "single", metadata, single)
    write(tmp_path / "few", metadata, requests(2))
    write(tmp_path / "strange", metadata, {name: (images, ["bird"]) for name, (images, _) in requests(30).items()})
    write(tmp_path / "good", metadata, requests(60))
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({}, "data=journal needs data.path"),
        ({"path": "nowhere"}, "there is no folder nowhere"),
        ({"path": str(tmp_path / "empty")}, "holds no journal"),
        ({"path": str(tmp_path / "silent")}, "none of the 30 records .* has a label"),
        ({"path": str(tmp_path / "single")}, r"one class \(class_1\), at least 2"),
        ({"path": str(tmp_path / "few")}, "are too few: none falls to"),
        ({"path": str(tmp_path / "strange")}, "no label .* fits its picture"),
        ({"path": str(tmp_path / "good"), "args": {"model": "canary"}}, "no record of data.args.model=canary"),
        ({"path": str(tmp_path / "good"), "args": {"modle": "a"}}, "data.args.modle means nothing"),
        ({"path": str(tmp_path / "good"), "classes": ["a", "b"]}, "data.classes has 2 names"),
    ]
    for settings, named in mistakes:
        with pytest.raises(MLStackError, match=named) as error:
            load_dataset(DataConfig(name="journal", **settings))
        assert len(str(error.value).splitlines()) <= 3


def test_pictures_that_are_not_square_are_refused(tmp_path: Path, metadata: Metadata) -> None:
    folder = write(tmp_path / "journal", metadata, requests(30))
    for path in folder.rglob("kind.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "height": 4, "width": 16}))
    with pytest.raises(DataError, match="16 × 4; only square ones"):
        load(folder)
