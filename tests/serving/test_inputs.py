from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from input_cases import BOUNDARY, FORM, INPUT, LIMITS, form, images, npy, photographs, right_bodies

from mlstack.bundle.metadata import PictureInput
from mlstack.serving.inputs import read_inputs
from mlstack.serving.problems import Problem

JSON, RAW, NPY = "application/json", "application/octet-stream", "application/x-npy"


def read(content_type: str, body: bytes) -> Any:
    return read_inputs(content_type, body, INPUT, LIMITS)


def refused(content_type: str, body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        read(content_type, body)
    assert "\n" not in caught.value.detail
    return caught.value


def test_every_right_body_is_taken() -> None:
    for name, (content_type, body) in right_bodies().items():
        found = read(content_type, body)
        assert isinstance(found, list) or found.shape[1:] == (8, 8, 3), name


def test_raw_bytes_are_rows_without_a_copy() -> None:
    rows = images(3)
    body = rows.tobytes()
    found = read(f"{RAW}; charset=binary", body)
    assert np.array_equal(found, rows)
    assert np.shares_memory(found, np.frombuffer(body, np.uint8))


def test_raw_bytes_of_a_wrong_length_are_told_how_many_an_image_has() -> None:
    problem = refused(RAW, b"x" * 191)
    assert problem.status == 400 and "191 bytes: one image has 192 bytes, uint8 [n, 8, 8, 3]" in problem.detail
    assert "image/jpeg" in refused(RAW, photographs()["plain.jpg"] + b"0").detail
    assert refused(RAW, bytes(192 * 5)).status == 413


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i4", "<u8", ">i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_of_whole_numbers_are_rows(dtype: str, order: Any) -> None:
    rows = images(3) // 2
    for array in (rows, rows[0]):
        found = read(NPY, npy(np.asarray(array, dtype, order=order)))
        assert found.dtype == np.uint8 and found.flags.c_contiguous
        assert np.array_equal(found, array.reshape(-1, 8, 8, 3))


def npy_of(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (npy(np.zeros((1, 8, 8, 3))), "dtype <f8: uint8 is wanted"),
        (npy(np.zeros((1, 8, 8, 3), bool)), "dtype |b1"),
        (npy(np.array([{"a": 1}], object)), "dtype |O"),
        (npy(np.zeros(3, [("a", "u1")])), "no plain numbers"),
        (npy(np.zeros((1, 8, 9, 3), np.uint8)), "shape (1, 8, 9, 3)"),
        (npy(np.zeros((0, 8, 8, 3), np.uint8)), "shape (0, 8, 8, 3)"),
        (npy(np.zeros((1, 1, 8, 8, 3), np.uint8)), "shape (1, 1, 8, 8, 3)"),
        (npy(np.zeros((), np.uint8)), "shape ()"),
        (npy(np.full((1, 8, 8, 3), -1, np.int32)), "-1 to -1"),
        (npy(np.full((1, 8, 8, 3), 256, np.uint16)), "256 to 256"),
        (npy(images(2))[:-1], "promises 384 bytes of pixels, 383 follow"),
        (npy(images(2)) + b"0", "385 follow"),
        (b"\x93NUMPY", "no whole .npy"),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x93NUMPY\x09\0" + bytes(100), "no whole .npy"),
        (npy_of(b"(" * 4000), "no plain numbers"),
        (npy_of(b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"9" * 40 + b",), }"), "can't be"),
        (npy_of(b"{'descr': '|u1', 'shape': (1, 8, 8, 3)}"), "no shape"),
    ],
)
def test_other_npy_files_are_refused_with_what_is_wanted(body: bytes, said: str) -> None:
    problem = refused(NPY, body)
    assert problem.status == 400 and said in problem.detail


def test_npy_files_of_too_many_images_are_refused() -> None:
    assert refused(NPY, npy(images(5))).status == 413


def test_a_form_gives_its_files_in_order() -> None:
    body = form(
        ("comment", None, b"two cats"),
        ("file", "b.png", b"\x89PNG second"),
        ("images", None, b"\xff\xd8\xff third"),
        ("file", "", b""),
        ("image", "\u7167\u7247.jpg", b""),
    )
    assert read(FORM, body) == [b"\x89PNG second", b"\xff\xd8\xff third", b""]
    assert read(FORM.replace(BOUNDARY, f'"{BOUNDARY}"').title().replace("A-Boundary", BOUNDARY), body)


@pytest.mark.parametrize(
    ("content_type", "body", "status", "said"),
    [
        ("multipart/form-data", form(("file", "a", b"x")), 400, "without a boundary"),
        ("multipart/form-data; boundary=", form(("file", "a", b"x")), 400, "without a boundary"),
        ("multipart/form-data; boundary=other", form(("file", "a", b"x")), 400, "broken"),
        (FORM, form(("comment", None, b"hello")), 400, "holds no file: curl -F file=@cat.jpg"),
        (FORM, form(("picture", "cat.jpg", b"x")), 400, 'in field "picture" isn\'t taken'),
        (FORM, form(("file", None, b"cat.jpg")), 400, "mind the @"),
        (FORM, form(("file", "a", b"x"))[:-9], 400, "broken"),
        (FORM, f"--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--".encode(), 400, "broken"),
        (FORM, form(*[("file", "a", b"x")] * 5), 413, "at most 4"),
        (FORM, form(*[("a", None, b"x")] * 50), 413, "at most 20 parts"),
        (FORM, form(("f" * 9000, "a", b"x")), 413, "header length"),
        (FORM, f"--{BOUNDARY}\r\n".encode() + b"a: b\r\n" * 50, 413, "header count"),
    ],
)
def test_broken_forms_are_told_what_to_do(content_type: str, body: bytes, status: int, said: str) -> None:
    problem = refused(content_type, body)
    assert problem.status == status and said in problem.detail


def test_one_picture_may_be_the_body() -> None:
    for content_type in ("image/jpeg", "image/jpg", "IMAGE/PNG", "image/webp", "image/bmp", "image/gif; a=b"):
        assert read(content_type, b"anything") == [b"anything"]


def test_a_body_without_a_content_type_is_known_by_its_start() -> None:
    rows = images(1)
    assert np.array_equal(read("", b"\n " + orjson.dumps({"inputs": rows.tolist()})), rows)
    assert np.array_equal(read("", npy(rows)), rows)
    for name, data in photographs().items():
        assert read("", data) == [data], name
    assert refused("", b"hello").status == 415


@pytest.mark.parametrize(
    "content_type", ["text/plain", "image/tiff", "image/svg+xml", "application/xml", "x" * 500, ";"]
)
def test_other_content_types_are_refused_with_those_that_are_taken(content_type: str) -> None:
    problem = refused(content_type, b"hello")
    assert problem.status == 415 and problem.reason == "unsupported"
    assert "application/json" in problem.detail and "multipart/form-data" in problem.detail


def test_who_forgets_the_header_with_curl_is_told_so() -> None:
    problem = refused("application/x-www-form-urlencoded", b'{"inputs": []}')
    assert problem.status == 415 and "-H 'content-type: application/json'" in problem.detail


def test_an_empty_body_is_refused() -> None:
    for content_type in (JSON, RAW, NPY, FORM, "image/jpeg", ""):
        assert refused(content_type, b"").status == 400


def test_a_model_of_one_channel_takes_its_own_shape() -> None:
    picture = PictureInput(4, 6, 1, "stretch", 4)
    rows = images(2, picture)
    for content_type, body in (
        (RAW, rows.tobytes()),
        (NPY, npy(rows)),
        (JSON, orjson.dumps({"inputs": rows.tolist()})),
    ):
        assert np.array_equal(read_inputs(content_type, body, picture, LIMITS), rows)
