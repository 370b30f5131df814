from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from input_cases import INPUT, images, mutations

from mlstack.bundle.metadata import PictureInput
from mlstack.serving.json_rows import read_json
from mlstack.serving.problems import Problem

GREY = PictureInput(4, 5, 1, "stretch", 5)


def read(document: object, picture: PictureInput = INPUT, max_images: int = 4) -> Any:
    """Read a document, or bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_json(body, picture, max_images)


def refused(document: object, picture: PictureInput = INPUT, max_images: int = 4) -> Problem:
    with pytest.raises(Problem) as caught:
        read(document, picture, max_images)
    assert "\n" not in caught.value.detail
    return caught.value


@pytest.mark.parametrize("picture", [INPUT, GREY, PictureInput(1, 1, 1, "crop", 1), PictureInput(3, 1, 3, "pad", 3)])
@pytest.mark.parametrize("count", [1, 3])
def test_every_notation_of_the_same_rows_is_the_same_array(picture: PictureInput, count: int) -> None:
    rows = images(count, picture)
    rows.flat[:3] = (0, 99, 255)[: rows.size]
    document = {"inputs": rows.tolist()}
    notations = [
        orjson.dumps(document),
        json.dumps(document).encode(),
        json.dumps(document, indent=1).encode(),
        json.dumps({"inputs": rows.astype(float).tolist()}).encode(),
        b' \n{ "inputs"\t: ' + orjson.dumps(rows.tolist()) + b" }\r\n",
        orjson.dumps(document).replace(b"[", b"[ ").replace(b"]", b" ]").replace(b",", b" , "),
        orjson.dumps(document).replace(b"255", b"2.55e2"),
    ]
    for notation in notations:
        found = read(notation, picture)
        assert found.dtype == np.uint8 and found.shape == rows.shape
        assert np.array_equal(found, rows)


def test_images_of_one_channel_need_no_list_for_it() -> None:
    rows = images(2, GREY)
    assert np.array_equal(read({"inputs": rows[..., 0].tolist()}, GREY), rows)
    assert np.array_equal(read({"inputs": rows[..., 0].astype(float).tolist()}, GREY), rows)


def test_a_body_of_many_images_is_read_in_parts() -> None:
    rows = images(600)
    assert np.array_equal(read(orjson.dumps({"inputs": rows.tolist()}), max_images=600), rows)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (256, "256"),
        (-1, "-1"),
        (12.5, "12.5"),
        (10**30, "1e+30"),
        (1e308, "1e+308"),
        (2**63, "9223372036854775808"),
        (True, "true"),
        (None, "null"),
        ("7", '"7"'),
        ({}, "an object"),
        ([], "a list"),
    ],
)
def test_a_value_that_is_no_pixel_is_named_with_its_place(value: object, shown: str) -> None:
    rows = images(2).tolist()
    rows[1][2][3][0] = value
    problem = refused({"inputs": rows})
    assert problem.status == 400
    assert f"inputs[1][2][3][0] is {shown}: pixels are whole numbers from 0 to 255" in problem.detail


def test_ragged_rows_are_named_with_their_place() -> None:
    rows = images(2).tolist()
    rows[1][2].append([1, 2, 3])
    assert "inputs[1][2] has 9 pixels, 8 are wanted" in refused({"inputs": rows}).detail
    rows = images(2).tolist()
    rows[1][2][7] = 5
    assert "inputs[1][2][7] is 5: a list of 3 channels is wanted" in refused({"inputs": rows}).detail
    rows = images(2).tolist()
    del rows[1][0]
    assert "inputs[1] has 7 rows, 8 are wanted" in refused({"inputs": rows}).detail


def test_a_wrong_size_is_told_with_both_sizes_and_what_to_do() -> None:
    assert (
        "is 4 × 5 × 3, this model takes 8 × 8 × 3" in refused({"inputs": np.zeros((1, 4, 5, 3), int).tolist()}).detail
    )
    assert "channels come last" in refused({"inputs": np.zeros((1, 3, 8, 8), int).tolist()}).detail
    assert "one more [ ]" in refused({"inputs": images(1)[0].tolist()}).detail
    assert "curl -F" in refused({"inputs": [[]]}).detail
    assert "a single value" in refused({"inputs": [7]}).detail


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "no object"),
        (b"{}", "an empty object"),
        (b'{"inputs": []}', "at least one"),
        (b'{"inputs": 5}', "at least one"),
        (b'{"images": {}}', "at least one"),
        (b'{"input": [[1]]}', 'did you mean "inputs"'),
        (b'{"Image": ["a"]}', 'did you mean "images"'),
        (b'{"instances": [[1]]}', 'unknown key "instances"'),
        (b'{"inputs": [1], "images": [""]}', "both inputs and images"),
        (b'{"inputs": [[[[NaN]]]]}', "JSON has no NaN or Infinity"),
        (b'{"inputs": [[[[-Infinity]]]]}', "JSON has no NaN or Infinity"),
        (b'{"inputs": [[[[01,2,3]]]]}', "not JSON"),
        (b'{"inputs": "\xff"}', "not JSON"),
        (b'{"a\\nb": 1}', 'unknown key "a?b"'),
        (b'{"inputs": ' + b"[" * 60 + b"]" * 60 + b"}", "nested too deep"),
    ],
)
def test_other_mistakes_are_told_in_a_line(body: bytes, said: str) -> None:
    problem = refused(body)
    assert problem.status == 400 and said in problem.detail


def test_a_key_that_stands_twice_is_refused() -> None:
    rows = orjson.dumps(images(1).tolist())
    assert "twice" in refused(b'{"inputs":%b,"inputs":%b}' % (rows, rows)).detail
    assert "twice" in refused(b'{"images":["AAAA"],"images":["AAAA"]}').detail


def test_too_many_images_are_refused_in_every_notation() -> None:
    rows = images(5)
    for document in ({"inputs": rows.tolist()}, {"inputs": rows.astype(float).tolist()}, {"images": ["AAAA"] * 5}):
        problem = refused(document)
        assert problem.status == 413 and "5 images" in problem.detail and "at most 4" in problem.detail


@pytest.mark.parametrize("unit", [b"[]", b"{}", b"0", b'"ab"', b"[[[[", b'{"a":'])
def test_a_body_of_far_more_values_than_fit_is_refused_before_it_is_parsed(unit: bytes) -> None:
    body = b'{"inputs":[' + b",".join([unit] * 100_000) + b"]}"
    assert refused(body).status == 413


def test_base64_comes_with_or_without_a_prefix_and_line_breaks() -> None:
    data = bytes(range(256))
    text = base64.b64encode(data).decode()
    wrapped = base64.encodebytes(data).decode()
    assert read({"images": [text, f"data:image/png;base64,{text}", wrapped]}) == [data] * 3


@pytest.mark.parametrize(
    "value", ["", "a", "AAA", "AA=A", "A*AA", "é", "data:image/png;base64,", "-_-_", 5, None, ["AAAA"]]
)
def test_bad_base64_is_named_with_its_place(value: object) -> None:
    problem = refused({"images": ["AAAA", value]})
    assert problem.status == 400 and "images[1]" in problem.detail


def strict(body: bytes) -> np.ndarray | None:
    """What a body means by Python's own parser and the rules; None = it is to be refused."""

    def no_constant(_: str) -> float:
        return math.nan

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) != 1:
            raise ValueError
        return dict(pairs)

    try:
        document = json.loads(body.decode(), parse_constant=no_constant, object_pairs_hook=once)
        flat = np.array(document["inputs"], object)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if flat.shape[1:] != (8, 8, 3) or not 1 <= len(flat) <= 4:
        return None
    values = flat.ravel().tolist()
    if not all(type(value) in (int, float) and value in range(256) for value in values):
        return None
    return np.array(values, np.uint8).reshape(flat.shape)


def edits(body: bytes, count: int, random: np.random.Generator) -> Iterator[bytes]:
    """A body with one mark of JSON rows put in or written over a byte: about a third of them still right."""
    for _ in range(count):
        place, mark = int(random.integers(0, len(body))), b"0123456789,[]. -"[int(random.integers(0, 16))]
        yield body[:place] + bytes([mark]) + body[place + int(random.integers(0, 2)) :]


@pytest.mark.parametrize("spaced", [False, True])
def test_mutated_rows_mean_what_pythons_own_parser_says(spaced: bool) -> None:
    rows = images(1)
    body = json.dumps({"inputs": rows.tolist()}, separators=None if spaced else (",", ":")).encode()
    random = np.random.default_rng(int(spaced))
    right = 0
    for mutation in (*mutations(body, 300, random), *edits(body, 2000, random)):
        wanted = strict(mutation)
        try:
            found = read(mutation)
        except Problem:
            found = None
        assert (found is None) == (wanted is None), mutation
        if wanted is not None:
            right += 1
            assert np.array_equal(found, wanted), mutation
    assert right > 300
