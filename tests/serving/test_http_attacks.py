from __future__ import annotations

import contextlib
import logging
import random
import socket
import struct
from collections.abc import Iterator

import pytest
from echo_server import (
    GOOD,
    Running,
    limits,
    read_all,
    read_answer,
    running,
    send_again_and_again,
    statuses,
    wait_until,
)

HOST = b"Host: test\r\n"
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2

REFUSED = {
    "no version": (b"GET /\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "another protocol": (b"OPTIONS * RTSP/1.0\r\n\r\n", 400),
    "version 2": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "version 1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "a fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no path": (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT test:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "NUL, encoded": (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "NUL in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"a\0b: c\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\0c\r\n\r\n", 400),
    "only NUL": (bytes(1000), 400),
    "bytes above 127 in the target": (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a path that is no UTF-8": (b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a query that is no UTF-8": (b"GET /?a=%ff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a thousand parameters": (b"GET /?" + b"a=b&" * 1000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a name with a space behind it": (b"GET / HTTP/1.1\r\n" + HOST + b"a : b\r\n\r\n", 400),
    "a line without a colon": (b"GET / HTTP/1.1\r\n" + HOST + b"abc\r\n\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n c\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\n" + HOST + b"\n", 400),
    "bare LF in between": (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\nc: d\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\rc: d\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "an unknown expectation": (b"POST / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
    "a long request line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a request line without end": (b"GET /" + b"a" * 9000, 414),
    "a header of 1 MB": (b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n", 431),
    "10,000 headers": (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 10_000 + b"\r\n", 431),
    "101 headers": (b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 100 + b"\r\n", 431),
    "TLS": (TLS_HELLO, 400),
    "a negative length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "a signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\n1", 400),
    "two lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", 400),
    "the same length twice": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n1", 400),
    "a list of lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n\r\n1", 400),
    "an empty length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400),
    "an endless length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "a length of 2^64 - 1": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 18446744073709551615\r\n\r\n", 400),
    "a length beyond the limit": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10001\r\n\r\n", 413),
    "length and chunks": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
        400,
    ),
    "chunks and length": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /",
        400,
    ),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "an unknown coding": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "two codings": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "nearly chunked": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
}
CHUNKED = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED_CHUNKS = {
    "no size": (b"\r\n", 400),
    "no number": (b"xyz\r\n", 400),
    "a negative size": (b"-1\r\n", 400),
    "a prefix": (b"0x4\r\ngood\r\n", 400),
    "a size of 2^64": (b"10000000000000000\r\n", 400),
    "a size of 100 digits": (b"f" * 100 + b"\r\n", 400),
    "a size just below 2^60": (b"fffffffffffffff\r\n", 413),
    "a line without end": (b"4;" + b"a" * 300, 400),
    "bare LF": (b"4\ngood\n0\n\n", 400),
    "too much in a chunk": (b"3\r\ngood\r\n0\r\n\r\n", 400),
    "too many trailers": (b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n", 400),
    "the limit passed": (b"3e8\r\n" + bytes(1000) + b"\r\n", 413),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(limits(read_timeout_s=0.2, keep_alive_s=0.4, max_connections=1000)) as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No traceback, neither of ours nor of asyncio."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("what", REFUSED)
def test_a_malformed_request_is_refused_and_the_next_one_is_answered(server: Running, what: str) -> None:
    attack, status = REFUSED[what]
    answer = server.ask(attack)
    assert statuses(answer) == [status]
    assert b"content-type: application/problem+json\r\n" in answer
    assert b"connection: close\r\n" in answer
    server.assert_good()


@pytest.mark.parametrize("what", REFUSED_CHUNKS)
def test_a_malformed_chunk_is_refused_and_the_next_request_is_answered(server: Running, what: str) -> None:
    attack, status = REFUSED_CHUNKS[what]
    repeated = attack * 11 if status == 413 else attack
    assert statuses(server.ask(CHUNKED, repeated)) == [status]
    assert statuses(server.ask(CHUNKED + repeated)) == [status]
    server.assert_good()


def test_a_refused_request_takes_what_was_smuggled_behind_it_along(server: Running) -> None:
    server.application.heads.clear()
    pair = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert statuses(server.ask(pair + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")) == [400]
    assert server.application.heads == []


@pytest.mark.parametrize("sent", [b"GET /", GOOD[:-10], GOOD[:-1], CHUNKED, CHUNKED + b"4\r\ngo"])
def test_a_client_that_stops_in_between_gets_a_408(server: Running, sent: bytes) -> None:
    assert statuses(server.ask(sent)) == [408]


def test_a_client_that_drips_its_head_gets_a_408_all_the_same(server: Running) -> None:
    with server.connect() as sock, pytest.raises(ConnectionError):  # after the answer, when it is no longer taken
        send_again_and_again(sock, b"A", times=1000, pause=0.01)
    server.assert_good()


def test_a_client_that_says_nothing_is_closed_without_a_word(server: Running) -> None:
    assert server.ask() == b""


@pytest.mark.parametrize("reset", [False, True])
def test_connections_cut_at_every_stage_harm_nobody(server: Running, reset: bool) -> None:
    whole = (GOOD, CHUNKED + b"4\r\ngood\r\n0\r\n\r\n", b"POST /wait" + GOOD[10:])
    for request in whole:
        for stop in range(1, len(request) + 1):
            with server.connect() as sock:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(request[:stop])
    server.assert_good()


def test_a_request_in_single_bytes_is_answered(server: Running) -> None:
    for request in (GOOD, CHUNKED + b"4\r\ngood\r\n0\r\nA: b\r\n\r\n"):
        with server.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request:
                sock.sendall(bytes([byte]))
            assert read_answer(sock) == (200, b"good")


def test_100_requests_at_once_are_answered_in_order(server: Running) -> None:
    bodies = [b"%04d" % number for number in range(100)]
    with server.connect() as sock:
        sock.sendall(b"".join(GOOD[:-4] + body for body in bodies))
        assert [read_answer(sock) for _ in bodies] == [(200, body) for body in bodies]


def test_pipelined_requests_whose_answers_nobody_reads_wait_outside(server: Running) -> None:
    server.application.heads.clear()
    requests = (b"GET /large?size=9000 HTTP/1.1\r\n" + HOST + b"\r\n") * 1000
    with server.connect(receive_buffer=4096) as sock, pytest.raises(ConnectionError):  # cut off after a while
        send_again_and_again(sock, requests, times=2000)
    assert len(server.application.heads) < 1000  # what the kernel's buffers hold, about 4 MB, and no more
    server.assert_good()


def test_bytes_behind_the_last_request_don_t_cost_its_answer(server: Running) -> None:
    last = GOOD.replace(b"Host", b"Connection: close\r\nHost")
    assert statuses(server.ask(last + b"x" * 5000)) == [200]
    assert statuses(server.ask(last + GOOD)) == [200]


def test_empty_lines_before_a_request_are_skipped(server: Running) -> None:
    with server.connect() as sock:
        sock.sendall(b"\r\n\r\n" + GOOD + b"\r\n" + GOOD)
        assert [read_answer(sock), read_answer(sock)] == [(200, b"good")] * 2


def _mutated(randomness: random.Random) -> bytes:
    """A valid request, with a few bytes changed, left out, doubled or put elsewhere."""
    seeds = (
        GOOD,
        CHUNKED + b"4;a=b\r\ngood\r\n0\r\nT: u\r\n\r\n",
        b"GET /path?a=1&b=%20 HTTP/1.1\r\n" + HOST + b"Accept: */*\r\nConnection: keep-alive\r\n\r\n",
        b"HEAD /echo HTTP/1.0\r\nUser-Agent: x\r\n\r\n" + GOOD,
    )
    data = bytearray(randomness.choice(seeds))
    for _ in range(randomness.randint(1, 4)):
        at = randomness.randrange(len(data))
        to = min(len(data), at + randomness.randint(1, 12))
        kind = randomness.randrange(5)
        if kind == 0:
            data[at] = randomness.randrange(256)
        elif kind == 1 and to - at < len(data):
            del data[at:to]
        elif kind == 2:
            data[at:at] = data[at:to]
        elif kind == 3:
            data[at:at] = randomness.choice([b"\r\n", b"\r\n\r\n", b"\0", b" ", b":", b"%", b"\n", b"9", b"chunked"])
        else:
            data[at:at] = randomness.randbytes(randomness.randint(1, 20))
    return bytes(data)


def test_300_mutated_requests_get_an_answer_of_2xx_or_4xx_or_none(server: Running) -> None:
    randomness = random.Random(6)
    for case in range(300):
        request = _mutated(randomness)
        found = statuses(server.ask(request, half_close=True)) if case % 10 else statuses(server.ask(request))
        assert all(status < 500 for status in found), request
    server.assert_good()
    wait_until(lambda: server.server.in_flight == server.server._held == 0)


def test_too_many_connections_are_told_so_and_room_is_given_back() -> None:
    with running(limits(max_connections=3)) as server:
        open_ones = [server.connect() for _ in range(3)]
        for sock in open_ones:
            sock.sendall(GOOD)
            assert read_answer(sock) == (200, b"good")
        refused = server.ask(GOOD)
        assert statuses(refused) == [503]
        assert b"retry-after: 1\r\n" in refused
        for sock in open_ones:
            sock.close()
        wait_until(lambda: server.server.connections == 0)
        server.assert_good()
        assert server.refusals == [(503, "not_ready")]


def test_a_flood_of_connections_is_cut_off_and_forgotten() -> None:
    with running(limits(max_connections=3)) as server:
        flood = [server.connect() for _ in range(300)]
        for sock in flood[3:]:
            with contextlib.suppress(ConnectionError):  # the last ones don't even get an answer
                assert statuses(read_all(sock)) in ([503], [])
        for sock in flood:
            sock.close()
        wait_until(lambda: server.server.connections == 0)
        server.assert_good()


def test_many_bodies_at_once_are_bounded_together() -> None:
    with running(limits(max_body_bytes=1000, read_timeout_s=1.0)) as server:
        slow = [server.connect() for _ in range(20)]
        for sock in slow:
            sock.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n" + bytes(900))
        found = [status for sock in slow for status in statuses(read_all(sock))]
        assert sorted(found) == [408] * 17 + [503] * 3  # 17 times 900 bytes fit into 16 bodies
        for sock in slow:
            sock.close()
        server.assert_good()
        wait_until(lambda: server.server.connections == 0)
        assert server.server._held == 0
