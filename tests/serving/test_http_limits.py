"""What is exactly as long as a limit is taken, and one more of it is refused: heads, bodies, and their parts."""

from __future__ import annotations

import pytest
from echo_server import limits

from mlstack.serving.http_bodies import MAX_LINE as MAX_CHUNK_LINE
from mlstack.serving.http_bodies import MAX_TRAILERS, ChunkedBody, SizedBody
from mlstack.serving.http_heads import MAX_LINE, MAX_PARAMETERS, Incoming, check_open_head, read_head
from mlstack.serving.http_limits import HttpLimits
from mlstack.serving.problems import Problem

HOST = "Host: test\r\n"


def read(line: str = "GET / HTTP/1.1", headers: str = HOST, **given: int) -> Incoming:
    return read_head(f"{line}\r\n{headers}\r\n".encode(), limits=limits(**given), peer="")


def refused(status: int, *args: str, **given: int) -> None:
    with pytest.raises(Problem) as problem:
        read(*args, **given)
    assert problem.value.status == status


def test_a_request_line_may_have_8192_bytes_and_no_more() -> None:
    assert MAX_LINE == 8192
    path = "/" + "a" * (8192 - len("GET / HTTP/1.1"))
    assert read(f"GET {path} HTTP/1.1").head.path == path
    refused(414, f"GET {path}a HTTP/1.1")


def test_an_open_head_is_refused_as_soon_as_its_request_line_is_too_long() -> None:
    line = b"GET /" + b"a" * 8187
    for raw in (line, line + b"\r\n", line + b"\r\nA: " + b"b" * 1000):
        check_open_head(bytearray(raw), seen=0, limits=limits())
    for raw in (line + b"a", line + b"a\r\n", line + b"a\r"):
        with pytest.raises(Problem) as problem:
            check_open_head(bytearray(raw), seen=0, limits=limits())
        assert problem.value.status == 414


def test_a_head_may_have_as_many_bytes_as_its_limit_says() -> None:
    whole = len(f"GET / HTTP/1.1\r\n{HOST}\r\n")
    assert read(max_head_bytes=whole).head.path == "/"
    refused(431, max_head_bytes=whole - 1)
    check_open_head(bytearray(b"GET / HTTP"), seen=0, limits=limits(max_head_bytes=10))
    with pytest.raises(Problem, match="more than 9 bytes"):
        check_open_head(bytearray(b"GET / HTTP"), seen=0, limits=limits(max_head_bytes=9))


def test_a_head_may_have_as_many_headers_as_its_limit_says() -> None:
    assert len(read(headers=HOST + "A: b\r\nC: d\r\n", max_headers=3).head.headers) == 3
    with pytest.raises(Problem, match="4 headers; at most 3") as problem:
        read(headers=HOST + "A: b\r\nC: d\r\nE: f\r\n", max_headers=3)
    assert problem.value.status == 431


def test_a_query_may_have_100_parameters_and_no_more() -> None:
    assert MAX_PARAMETERS == 100
    query = "&".join(f"k{number}=v" for number in range(100))
    assert len(read(f"GET /?{query} HTTP/1.1").head.query) == 100
    refused(400, f"GET /?{query}&more=v HTTP/1.1")


def test_a_length_may_have_18_digits_and_no_more() -> None:
    assert read(headers=f"{HOST}Content-Length: {'9' * 18}\r\n").length == int("9" * 18)
    refused(400, "GET / HTTP/1.1", f"{HOST}Content-Length: {'9' * 19}\r\n")


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", None, True),
        ("1.0", None, False),
        ("1.1", "close", False),
        ("1.1", "Upgrade, Close", False),
        ("1.1", "keep-alive", True),
        ("1.1", "upgrade", True),
        ("1.0", "keep-alive", True),
        ("1.0", "upgrade", False),
        ("1.0", "keep-alive, close", False),
    ],
)
def test_a_connection_is_kept_as_its_version_and_its_header_say(
    version: str, connection: str | None, kept: bool
) -> None:
    incoming = read(f"GET / HTTP/{version}", HOST + (f"Connection: {connection}\r\n" if connection else ""))
    assert (incoming.keep_alive, incoming.old) == (kept, version == "1.0")


def test_only_http_1_1_waits_to_be_told_that_it_may_continue() -> None:
    assert read(headers=f"{HOST}Expect: 100-Continue\r\n").expects
    assert not read("GET / HTTP/1.0", f"{HOST}Expect: 100-continue\r\n").expects
    assert not read().expects


def test_a_body_of_known_length_gives_back_what_belongs_to_the_next_request() -> None:
    kept, thrown_away = SizedBody(5, keep=True), SizedBody(5, keep=False)
    for body in (kept, thrown_away):
        assert body.feed(b"abc") == b"" and not body.complete
        assert body.feed(b"deGET") == b"GET" and body.complete
    assert (kept.content, thrown_away.content) == (b"abcde", b"")


def test_a_chunked_body_may_have_as_many_bytes_as_its_limit_says() -> None:
    body = ChunkedBody(8)
    assert body.feed(b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\nGET") == b"GET"
    assert body.complete and body.content == b"abcdefgh"
    with pytest.raises(Problem) as problem:
        ChunkedBody(7).feed(b"3\r\nabc\r\n5\r\n")
    assert problem.value.status == 413


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["open", "whole"])
def test_the_line_before_a_chunk_may_have_256_bytes_and_no_more(end: bytes) -> None:
    assert MAX_CHUNK_LINE == 256
    ChunkedBody(8).feed(b"3;" + b"a" * 254 + end)
    with pytest.raises(Problem):
        ChunkedBody(8).feed(b"3;" + b"a" * 255 + end)


def test_the_trailers_may_have_8192_bytes_and_no_more() -> None:
    assert MAX_TRAILERS == 8192
    for length in (8192, 4096):
        body = ChunkedBody(8)
        assert body.feed(b"0\r\n" + (b"a" * length + b"\r\n") * (8192 // length) + b"\r\n") == b""
        assert body.complete and body.content == b""
    for trailers in (b"a" * 8193, b"a" * 8193 + b"\r\n", (b"a" * 4096 + b"\r\n") * 2 + b"a\r\n"):
        with pytest.raises(Problem):
            ChunkedBody(8).feed(b"0\r\n" + trailers)


def test_chunks_come_in_any_pieces() -> None:
    whole = b"3\r\nabc\r\n0f;x=y\r\n" + b"d" * 15 + b"\r\n0\r\nA: b\r\n\r\n"
    for size in (1, 2, 3, 7):
        body = ChunkedBody(100)
        for at in range(0, len(whole), size):
            assert not body.complete
            assert body.feed(whole[at : at + size]) == b""
        assert body.complete and body.content == b"abc" + b"d" * 15


def test_what_nobody_says_otherwise_is_what_the_document_says() -> None:
    usual = HttpLimits(max_body_bytes=1, read_timeout_s=1, max_connections=1)
    assert (usual.max_head_bytes, usual.max_headers, usual.keep_alive_s) == (64 * 1024, 100, 75)
