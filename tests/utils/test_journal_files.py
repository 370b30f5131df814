from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.utils.journal_files import (
    IMAGES,
    KIND,
    LABELS,
    OUTPUTS,
    RECORDS,
    Kind,
    check_label,
    checksum,
    read_labels,
    read_records,
    segments,
    share,
)

CLASSES = ("cat", "dog")
GREY = Kind(2, 3, 1, "classification", CLASSES)
LINE = {"request_id": "r", "at": "now", "model": "m", "version": "1", "first": 0, "count": 1, "crc": 0, "order": 0}


def write(folder: Path, kind: Kind, lines: list[object], *, tail: str = "") -> Path:
    """A folder of pictures in a segment, with these lines of records."""
    place = folder / kind.name
    place.mkdir(parents=True)
    (place / KIND).write_text(kind.to_json())
    (place / RECORDS).write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return place


def test_a_kind_knows_its_sizes_and_is_named_by_shape_task_and_classes() -> None:
    kind = Kind(4, 5, 3, "classification", ("a", "b", "c"))
    assert (kind.shape, kind.image_bytes, kind.output_bytes) == ((4, 5, 3), 60, 12)
    assert kind.name.startswith("4x5x3-") and len(kind.name) == len("4x5x3-") + 10
    others = [Kind(4, 5, 3, "multilabel", ("a", "b", "c")), Kind(4, 5, 3, "classification", ("a", "c", "b"))]
    assert len({kind.name, *(other.name for other in others)}) == 3


@pytest.mark.parametrize(
    ("task", "label", "learnt"),
    [
        ("classification", "dog", 1),
        ("multilabel", ["dog"], (0.0, 1.0)),
        ("multilabel", ("dog", "cat"), (1.0, 1.0)),
        ("multilabel", [], (0.0, 0.0)),
        ("regression", [1, 2.5], (1.0, 2.5)),
        ("regression", {"dog": 2, "cat": -1}, (-1.0, 2.0)),
    ],
)
def test_a_true_label_becomes_what_is_learnt(task: str, label: Any, learnt: Any) -> None:
    assert check_label(label, task=task, classes=CLASSES) == learnt


def test_one_target_s_number_needs_no_list() -> None:
    assert check_label(3, task="regression", classes=("price",)) == (3.0,)


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        ("classification", "cow", '"cow" is not one of the classes cat, dog'),
        ("classification", 0, "0 is not one of the classes cat, dog"),
        ("multilabel", "cat", '"cat" is not a list of labels out of cat, dog'),
        ("multilabel", ["cat", "cow"], '["cat", "cow"] is not a list of labels out of cat, dog'),
        ("multilabel", ["cat", 1], '["cat", 1] is not a list of labels out of cat, dog'),
        ("regression", [1], "[1] is not a number for each of cat, dog"),
        ("regression", [1, True], "[1, true] is not a number for each of cat, dog"),
        ("regression", [1, math.inf], "[1, Infinity] is not a number for each of cat, dog"),
        ("regression", [1, 10**400], None),
        ("regression", {"cat": 1}, '{"cat": 1} is not a number for each of cat, dog'),
        ("regression", 1, "1 is not a number for each of cat, dog"),
    ],
)
def test_any_other_label_is_refused_in_one_line(task: str, label: Any, message: str | None) -> None:
    with pytest.raises(ValueError, match="is not") as caught:
        check_label(label, task=task, classes=CLASSES)
    assert message is None or str(caught.value) == message


def test_a_message_shows_sixty_characters_and_ten_classes_at_most() -> None:
    def said(length: int, classes: int) -> str:
        with pytest.raises(ValueError, match="is not") as caught:
            check_label("x" * length, task="classification", classes=tuple(f"c{number}" for number in range(classes)))
        return str(caught.value)

    ten = ", ".join(f"c{number}" for number in range(10))
    assert said(58, 10) == f'"{"x" * 58}" is not one of the classes {ten}'
    assert said(59, 11) == f'"{"x" * 56}… is not one of the classes {ten}, …'


def test_a_share_is_even_steady_and_another_one_for_each_purpose() -> None:
    shares = np.array([share(f"request-{number}", "journal") for number in range(2000)])
    assert shares.min() >= 0 and shares.max() < 1
    assert np.abs(np.histogram(shares, bins=4, range=(0, 1))[0] - 500).max() < 90
    assert share("request-0", "journal") == shares[0] != share("request-0", "split")
    assert share("a\ud800", "journal") < 1  # half a character


def test_segments_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("segment-000010", "segment-000009", "segment-1000000", "segment-12345", "segment-000011x", ".lock"):
        (tmp_path / name).mkdir()
    assert [number for number, _ in segments(tmp_path)] == [9, 10, 1_000_000]


def test_whole_lines_are_records_and_anything_else_is_passed_over(tmp_path: Path) -> None:
    lines = [
        LINE,
        {**LINE, "request_id": "negative", "first": -1},
        {**LINE, "request_id": "none", "count": 0},
        {key: value for key, value in LINE.items() if key != "crc"},
        {**LINE, "count": "many"},
        [1, 2],
        {**LINE, "request_id": "last", "first": 7, "count": 3, "order": 5},
    ]
    write(tmp_path / "segment-000002", GREY, lines, tail='no JSON\n{"request_id": "open"')
    write(tmp_path / "segment-000001", Kind(1, 1, 3, "regression", ("x",)), [{**LINE, "request_id": "older"}])
    found = [(one.request_id, one.first, one.count, one.order, one.kind.channels) for one in read_records(tmp_path)]
    assert found == [("older", 0, 1, (1, 0), 3), ("r", 0, 1, (2, 0), 1), ("last", 7, 3, (2, 5), 1)]


@pytest.mark.parametrize("change", [{"format": 2}, {"task": "detection"}, {"classes": None}, {"more": 1}])
def test_a_kind_of_another_format_is_passed_over(tmp_path: Path, change: dict[str, Any]) -> None:
    place = write(tmp_path / "segment-000001", GREY, [LINE])
    assert len(list(read_records(tmp_path))) == 1
    (place / KIND).write_text(json.dumps({**json.loads(GREY.to_json()), **change}))
    assert list(read_records(tmp_path)) == []


def test_labels_come_in_their_order_and_broken_ones_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "segment-000003").mkdir()
    lines = [
        '{"request_id": "a", "labels": ["cat", null], "order": 1}',
        '{"request_id": 7, "labels": [], "order": 2}',
        '{"request_id": "b", "labels": "cat", "order": 3}',
        '{"request_id": "c", "labels": [], "order": "4"}',
        '{"request_id": "d", "labels": [1], "order": 5}',
        "",
    ]
    (tmp_path / "segment-000003" / LABELS).write_text("\n".join(lines))
    found = [(one.request_id, one.labels, one.order) for one in read_labels(tmp_path)]
    assert found == [("a", ("cat", None), (3, 1)), ("d", (1,), (3, 5))]


def test_a_record_reads_its_own_rows_and_none_that_were_changed_or_are_gone(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.uint8)
    outputs = np.arange(8, dtype="<f4")
    crc = checksum(images[6:18].tobytes(), outputs[2:6].tobytes())
    lines = [{**LINE, "first": 1, "count": 2, "crc": crc}, {**LINE, "first": 3, "count": 2, "crc": 0}]
    place = write(tmp_path / "segment-000001", GREY, lines)
    whole, beyond = read_records(tmp_path)
    assert whole.read() is None  # no files yet
    (place / IMAGES).write_bytes(images.tobytes())
    (place / OUTPUTS).write_bytes(outputs.tobytes())
    rows = whole.read()
    assert rows is not None
    assert np.array_equal(rows[0], images[6:18].reshape(2, 2, 3, 1))
    assert rows[1].tolist() == [[2, 3], [4, 5]]
    assert beyond.read() is None
    (place / IMAGES).write_bytes(bytes(24))
    assert whole.read() is None
