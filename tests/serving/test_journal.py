from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundles import make_bundle

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.session import Session
from mlstack.errors import OutputError
from mlstack.serving.journal import Journal
from mlstack.utils.journal_files import (
    IMAGES,
    OUTPUTS,
    RECORDS,
    check_label,
    read_labels,
    read_records,
    segments,
    share,
)

LARGE = 1 << 30


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Metadata:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "digits").metadata


def pictures(seed: int, count: int = 1, size: int = 8, channels: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def answers(count: int = 1, classes: int = 10) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(count).random((count, classes), dtype=np.float32)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_is_recorded_is_read_back_exactly(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    session = Session(bundle.path / bundle.metadata.models[0].file)
    journal = Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE)
    sent = {f"request-{number}": pictures(number, count=1 + number % 3) for number in range(20)}
    given = {name: session.run(images).output for name, images in sent.items()}
    for name, images in sent.items():
        assert journal.record(name, "stable", bundle.metadata, images, given[name])
    assert journal.feedback("request-1", ["class_3", None])
    journal.close()
    records = {record.request_id: record for record in read_records(tmp_path / "journal")}
    assert list(records) == list(sent)
    for name, record in records.items():
        read = record.read()
        assert read is not None
        assert np.array_equal(read[0], sent[name])
        assert np.array_equal(read[1], given[name])
        assert (record.model, record.version) == ("stable", bundle.metadata.version)
        assert record.kind.classes == bundle.metadata.classes
    (line, *_) = next((tmp_path / "journal").rglob(RECORDS)).read_text().splitlines()
    assert json.loads(line)["predicted"] == [f"class_{given['request-0'].argmax()}"]
    assert [(one.request_id, one.labels) for one in read_labels(tmp_path / "journal")] == [
        ("request-1", ("class_3", None))
    ]
    assert journal.status()["written"] == 21
    assert journal.status()["bytes"] == size_of(tmp_path / "journal")


def test_the_sample_follows_from_the_request_id_and_feedback_finds_it(tmp_path: Path, metadata: Metadata) -> None:
    names = [f"request-{number}" for number in range(2000)]
    kept = []
    for folder in ("first", "again"):
        journal = Journal(tmp_path / folder, fraction=0.1, max_bytes=LARGE)
        taken = [name for name in names if journal.record(name, "m", metadata, pictures(0), answers())]
        assert taken == [name for name in names if journal.feedback(name, ["class_0"])]
        journal.close()
        kept.append([record.request_id for record in read_records(tmp_path / folder)])
        assert kept[-1] == taken
        assert [one.request_id for one in read_labels(tmp_path / folder)] == taken
    assert kept[0] == kept[1]
    assert 150 < len(kept[0]) < 250


def test_a_share_is_even_and_independent_for_each_purpose() -> None:
    first, second = (np.array([share(f"{n}", purpose) for n in range(4000)]) for purpose in ("journal", "split 0"))
    assert np.histogram(first, 10, (0, 1))[0] == pytest.approx(400, abs=80)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_models_of_different_pictures_or_classes_lie_apart(tmp_path: Path) -> None:
    kinds = {"grey": {}, "colour": {"size": 12, "channels": 3}, "three": {"classes": 3}}
    journal = Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE)
    for name, options in kinds.items():
        made = make_bundle(tmp_path / name, **options).metadata
        size, channels, classes = options.get("size", 8), options.get("channels", 1), len(made.classes)
        journal.record(name, name, made, pictures(1, 2, size, channels), answers(2, classes))
    journal.close()
    read = {record.model: record.read() for record in read_records(tmp_path / "journal")}
    assert {name: (both[0].shape, both[1].shape) for name, both in read.items() if both} == {
        "grey": ((2, 8, 8, 1), (2, 10)),
        "colour": ((2, 12, 12, 3), (2, 10)),
        "three": ((2, 8, 8, 1), (2, 3)),
    }


def test_the_disk_stays_bounded_and_the_oldest_go_first(tmp_path: Path, metadata: Metadata) -> None:
    folder, limit = tmp_path / "journal", 120_000
    for start in range(0, 600, 200):  # three servers, one after the other
        journal = Journal(folder, fraction=1, max_bytes=limit)
        for number in range(start, start + 200):
            journal.record(f"{number}", "m", metadata, pictures(number, 4), answers(4))
            journal.feedback(f"{number}", ["class_0"] * 4)
        journal.close()
        assert size_of(folder) <= limit
        assert journal.status()["bytes"] == size_of(folder)
    kept = [int(record.request_id) for record in read_records(folder)]
    assert len(kept) > 60
    assert kept == list(range(600 - len(kept), 600))
    assert {str(number) for number in kept} <= {one.request_id for one in read_labels(folder)}


def test_a_smaller_limit_than_before_is_kept_at_once(tmp_path: Path, metadata: Metadata) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, fraction=1, max_bytes=400_000)
    for number in range(300):
        journal.record(f"{number}", "m", metadata, pictures(number, 4), answers(4))
    journal.close()
    assert size_of(folder) > 50_000
    Journal(folder, fraction=1, max_bytes=50_000).close()
    assert size_of(folder) <= 50_000


def test_closed_segments_never_change(tmp_path: Path, metadata: Metadata) -> None:
    folder = tmp_path / "journal"
    for number in range(3):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        journal = Journal(folder, fraction=1, max_bytes=LARGE)
        journal.record(f"{number}", "m", metadata, pictures(number), answers())
        journal.feedback("0", ["class_1"])
        journal.close()
        assert {path: path.read_bytes() for path in before} == before
    assert [number for number, _ in segments(folder)] == [1, 2, 3]


def test_a_second_server_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE)
    with pytest.raises(OutputError, match="written by another server"):
        Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE)
    journal.close()
    journal.close()
    Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE).close()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        Journal(tmp_path / "file", fraction=1, max_bytes=LARGE)


KILLED = """
import sys
import numpy as np
from pathlib import Path
from mlstack.bundle.folder import read_bundle
from mlstack.serving.journal import Journal

metadata = read_bundle(Path(sys.argv[1])).metadata
journal = Journal(sys.argv[2], fraction=1, max_bytes=int(sys.argv[3]))
number = 0
while True:
    images = np.full((3, 8, 8, 1), number % 251, np.uint8)
    if journal.record(f"{sys.argv[4]}-{number}", "m", metadata, images, np.zeros((3, 10), np.float32)):
        journal.feedback(f"{sys.argv[4]}-{number}", ["class_1", None, "class_2"])
        number += 1
    if journal.status()["written"] > 200:
        print("go", flush=True)
"""


def test_a_server_that_is_killed_leaves_a_journal_that_is_read_and_gone_on_with(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    folder = tmp_path / "journal"
    for life in range(3):
        words = [sys.executable, "-c", KILLED, str(bundle.path), str(folder), "300000", str(life)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"go\n"
            process.send_signal(signal.SIGKILL)
        records = list(read_records(folder))
        assert len(records) > 20
        for record in records:
            read = record.read()
            assert read is not None
            assert (read[0] == int(record.request_id.partition("-")[2]) % 251).all()
        assert size_of(folder) <= 300_000
        assert any(record.request_id.startswith(f"{life}-") for record in records)


@pytest.fixture
def written(tmp_path: Path, metadata: Metadata) -> Path:
    journal = Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE)
    for number in range(5):
        journal.record(f"{number}", "m", metadata, pictures(number), answers())
    journal.feedback("0", ["class_0"])
    journal.close()
    return next((tmp_path / "journal").rglob(RECORDS)).parent


def intact(folder: Path) -> list[str]:
    return [record.request_id for record in read_records(folder.parents[1]) if record.read() is not None]


def test_half_a_line_half_a_picture_and_damage_cost_only_what_they_hit(written: Path) -> None:
    assert intact(written) == ["0", "1", "2", "3", "4"]
    records = (written / RECORDS).read_bytes()
    (written / RECORDS).write_bytes(records[:-20])
    assert intact(written) == ["0", "1", "2", "3"]
    (written / RECORDS).write_bytes(b'{"request_id": 1}\nnull\n\xff\n' + records)
    (written / IMAGES).write_bytes((written / IMAGES).read_bytes()[: 4 * 64 + 10])
    assert intact(written) == ["0", "1", "2", "3"]
    outputs = bytearray((written / OUTPUTS).read_bytes())
    outputs[45] ^= 1
    (written / OUTPUTS).write_bytes(outputs)
    assert intact(written) == ["0", "2", "3"]
    with (written.parent / "labels.jsonl").open("ab") as file:
        file.write(b'{"request_id": "1", "labels": "cat"}\n{"request_id"')
    assert [one.request_id for one in read_labels(written.parents[1])] == ["0"]
    (written / "kind.json").write_text("{}")
    assert intact(written) == []


def test_a_full_disk_is_logged_and_written_again_once_there_is_room(
    tmp_path: Path, metadata: Metadata, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, wrote = [0.0], threading.Event()
    journal = Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE, clock=lambda: now[0])

    def full(*_: Any) -> None:
        wrote.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("mlstack.serving.journal_segment._KindFiles.__init__", full)
        journal.record("lost", "m", metadata, pictures(0), answers())
        assert wrote.wait(10)
        while journal.status()["lost"] < 1:
            wrote.wait(0.01)
    journal.record("too soon", "m", metadata, pictures(1), answers())
    while journal.status()["lost"] < 2:
        wrote.wait(0.01)
    now[0] = 60.0
    journal.record("kept", "m", metadata, pictures(2), answers())
    journal.close()
    assert [record.request_id for record in read_records(tmp_path / "journal")] == ["kept"]
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text


def test_what_finds_no_room_in_the_queue_is_dropped_and_counted(tmp_path: Path, metadata: Metadata) -> None:
    journal = Journal(tmp_path / "journal", fraction=1, max_bytes=LARGE, waiting_bytes=500)
    assert journal.record("fits", "m", metadata, pictures(0), answers())
    assert not journal.record("large", "m", metadata, pictures(0, 30), answers(30))
    journal.close()
    assert [record.request_id for record in read_records(tmp_path / "journal")] == ["fits"]
    assert journal.status()["dropped"] == 1
    assert not journal.record("late", "m", metadata, pictures(0), answers())


def test_a_request_larger_than_the_journal_is_left_out_with_a_word(
    tmp_path: Path, metadata: Metadata, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "journal", fraction=1, max_bytes=20_000)
    journal.record("large", "m", metadata, pictures(0, 200), answers(200))
    journal.record("fits", "m", metadata, pictures(0), answers())
    journal.close()
    assert [record.request_id for record in read_records(tmp_path / "journal")] == ["fits"]
    assert "large is too large for the journal" in caplog.text


GOOD = [
    ("classification", "cat", 0),
    ("multilabel", [], (0.0, 0.0)),
    ("multilabel", ["dog"], (0.0, 1.0)),
    ("regression", [1, 2.5], (1.0, 2.5)),
    ("regression", {"dog": 2, "cat": 1}, (1.0, 2.0)),
]
BAD = [
    ("classification", value) for value in ("bird", 0, None, ["cat"], {}, "x" * 1000)
] + [
    ("multilabel", value) for value in ("cat", ["bird"], [1], [["cat"]], 1)
] + [
    ("regression", value) for value in ([1], "1", [1, "2"], [True, 1], [1, float("nan")], [1, 10**400], {"cat": 1})
]  # fmt: skip


@pytest.mark.parametrize(("task", "label", "learnt"), GOOD)
def test_a_label_becomes_what_is_learnt(task: str, label: Any, learnt: Any) -> None:
    assert check_label(label, task=task, classes=("cat", "dog")) == learnt


@pytest.mark.parametrize(("task", "label"), BAD, ids=repr)
def test_a_label_that_does_not_fit_is_refused_in_one_line(task: str, label: Any) -> None:
    with pytest.raises(ValueError, match=r"is not .*cat, dog") as error:
        check_label(label, task=task, classes=("cat", "dog"))
    assert len(str(error.value)) < 200 and "\n" not in str(error.value)


def test_one_target_takes_a_bare_number() -> None:
    assert check_label(3, task="regression", classes=("age",)) == (3.0,)
