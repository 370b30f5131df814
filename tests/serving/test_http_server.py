from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

import pytest
import uvloop
from echo_server import (
    GOOD,
    Running,
    limits,
    read_all,
    read_answer,
    read_head,
    running,
    send_again_and_again,
    statuses,
    wait_until,
)

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(scope="module", params=LOOPS, ids=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(limits(), request.param) as one:
        yield one


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    return factory


def request_of(path: str, body: bytes = b"", *, method: str = "POST", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def head_of(server: Running, path: str, headers: str = "", method: str = "POST") -> tuple[int, dict[str, str]]:
    with server.connect() as sock:
        sock.sendall(request_of(path, method=method, headers=headers))
        return read_head(sock)


def test_requests_on_one_connection_are_answered_one_after_the_other(server: Running) -> None:
    with server.connect() as sock:
        for body in (b"one", b"", bytes(10_000), b"four"):
            sock.sendall(request_of("/echo", body))
            assert read_answer(sock) == (200, body)


def test_a_body_of_any_length_comes_through_in_pieces_and_in_chunks(server: Running) -> None:
    body = bytes(range(256)) * 39
    chunks = b"".join(b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in (body[:1], body[1:700], body[700:]))
    with server.connect() as sock:
        for at in (1, 5000):
            whole = request_of("/echo", body)
            sock.sendall(whole[:-at])
            sock.sendall(whole[-at:])
            assert read_answer(sock) == (200, body)
            sock.sendall(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            sock.sendall(b"0\r\nTrailer: x\r\n\r\n")
            assert read_answer(sock) == (200, body)


def test_path_query_and_headers_are_decoded(server: Running) -> None:
    server.application.heads.clear()
    twice = "Accept: a\r\naccept:  b \r\nX-Request-ID: abc.1\r\n"
    head_of(server, "/caf%C3%A9/a%20b?top_k=5&name=%E7%8C%AB&name=x+y&empty", twice, "PUT")
    head = server.application.heads[0]
    assert (head.method, head.path, head.id, head.peer) == ("PUT", "/café/a b", "abc.1", "127.0.0.1")
    assert head.query == {"top_k": "5", "name": "x y", "empty": ""}
    assert head.headers["accept"] == "a, b"


def test_a_whole_address_as_the_target_is_its_path(server: Running) -> None:
    server.application.heads.clear()
    head_of(server, "http://test:80/a/b?c=d")
    assert (server.application.heads[0].path, server.application.heads[0].query) == ("/a/b", {"c": "d"})


def test_each_answer_carries_security_headers_a_date_and_the_request_id(server: Running) -> None:
    for path in ("/echo", "/refused", "/bug"):
        headers = head_of(server, path, "X-Request-Id: mine\r\n")[1]
        assert headers["x-request-id"] == "mine"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 5


def test_a_request_id_that_is_no_plain_one_is_replaced(server: Running) -> None:
    ids = {head_of(server, "/echo", f"X-Request-Id: {given}\r\n")[1]["x-request-id"] for given in ("a b", "<b>")}
    assert len(ids) == 2 and all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_the_application_s_headers_win_but_can_neither_end_a_line_nor_change_the_length(server: Running) -> None:
    with server.connect() as sock:
        sock.sendall(request_of("/headers", b"a\r\nset-cookie: b\r\n\r\nc\0"))
        raw = b""
        while not raw.endswith(b"own"):
            raw += sock.recv(65536)
    lines = raw.decode("latin-1").split("\r\n")
    assert "cache-control: max-age=60" in lines and "cache-control: no-store" not in lines
    assert "x-note: a  set-cookie: b    c " in lines
    assert [line for line in lines if line.startswith("content-length")] == ["content-length: 3"]


def test_head_gets_the_length_and_no_body_and_204_neither(server: Running) -> None:
    with server.connect() as sock:
        sock.sendall(request_of("/echo", b"12345", method="HEAD") + request_of("/empty") + GOOD)
        assert read_head(sock)[1]["content-length"] == "5"
        status, headers = read_head(sock)
        assert status == 204 and "content-length" not in headers
        assert read_answer(sock) == (200, b"good")


def test_http_1_0_closes_unless_it_is_asked_not_to(server: Running) -> None:
    assert statuses(server.ask(b"GET /echo HTTP/1.0\r\n\r\n")) == [200]
    with server.connect() as sock:
        sock.sendall(b"GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert read_head(sock)[1]["connection"] == "keep-alive"
        sock.sendall(b"GET /echo HTTP/1.0\r\n\r\n")
        assert statuses(read_all(sock)) == [200]


def test_an_upgrade_is_answered_as_an_ordinary_request(server: Running) -> None:
    with server.connect() as sock:
        sock.sendall(request_of("/echo", b"abc", headers="Connection: Upgrade\r\nUpgrade: h2c\r\n") + GOOD)
        assert [read_answer(sock), read_answer(sock)] == [(200, b"abc"), (200, b"good")]


def test_100_continue_comes_only_for_a_request_that_is_admitted(server: Running) -> None:
    expects = "Expect: 100-continue\r\n"
    with server.connect() as sock:
        sock.sendall(request_of("/echo", b"abcd", headers=expects)[:-4])
        assert read_head(sock)[0] == 100
        sock.sendall(b"abcd")
        assert read_answer(sock) == (200, b"abcd")
    assert statuses(server.ask(request_of("/refused", b"abcd", headers=expects)[:-4])) == [401]
    too_long = b"POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n"
    assert statuses(server.ask(too_long)) == [413]


@pytest.mark.parametrize("framing", ["Content-Length: 2000000", "Transfer-Encoding: chunked"])
def test_a_client_that_sends_everything_before_it_reads_gets_its_413(
    framing: str, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with running(limits(max_body_bytes=600_000), loop_factory) as server, server.connect() as sock:
        sock.sendall(f"POST /echo HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode())
        if "chunked" in framing:
            sock.sendall(b"1e8480\r\n")
        for _ in range(20):
            sock.sendall(bytes(100_000))  # an answer that resets the connection would end here, or below
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
        assert b"connection: close" in head
        assert json.loads(body)["status"] == 413
        assert server.refusals == [(413, "too_large")]


def test_a_client_that_never_stops_sending_is_cut_off(server: Running) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            send_again_and_again(sock, bytes(10_000), times=1000)


def test_a_refused_request_with_a_small_body_keeps_its_connection(server: Running) -> None:
    refused = request_of("/refused", bytes(5000))
    with server.connect() as sock:
        sock.sendall(refused + GOOD + refused[:-1000])
        assert read_answer(sock)[0] == 401
        assert read_answer(sock) == (200, b"good")
        sock.sendall(refused[-1000:] + GOOD)
        assert read_answer(sock)[0] == 401
        assert read_answer(sock) == (200, b"good")


@pytest.mark.parametrize("path", ["/bug", "/broken-admit", "/inner-cancel", "/no-bytes"])
def test_a_bug_is_a_500_without_details_and_a_traceback_in_the_log(
    server: Running, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect() as sock:
        sock.sendall(request_of(path) + GOOD)
        status, body = read_answer(sock)
        assert status == 500
        assert not any(word in body for word in (b"secret", b"KeyError", b"TypeError", b"Traceback"))
        assert read_answer(sock) == (200, b"good")
    record = caplog.records[0]
    assert record.name == "mlstack.serving" and record.exc_info is not None
    assert json.loads(body)["request_id"] in record.getMessage()


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (413, b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 99999\r\n\r\n"),
        (413, b"POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n"),
        (400, b"POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"),
        (500, request_of("/bug")),
        (500, request_of("/broken-admit")),
    ],
    ids=["length", "chunks", "body", "bug", "bug before the body"],
)
def test_the_application_says_how_a_refusal_of_the_servers_own_is_told(
    server: Running, status: int, sent: bytes
) -> None:
    with server.connect() as sock:
        sock.sendall(sent)
        got, headers = read_head(sock)
    assert got == status
    assert headers["x-refused"] == sent.split(b" ")[1].decode()


def test_of_a_head_that_never_could_be_read_the_application_learns_nothing(server: Running) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /a HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n")  # without a host
        status, headers = read_head(sock)
    assert (status, headers["x-refused"]) == (400, "")
    assert headers["x-request-id"] != "mine"


def test_a_bug_in_telling_a_refusal_is_a_500_too(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /broken-refusal HTTP/1.1\r\nHost: test\r\nContent-Length: 99999\r\n\r\n")
        status, body = read_answer(sock)
    assert status == 500
    assert b"KeyError" not in body
    assert json.loads(body)["request_id"] in caplog.records[0].getMessage()
    server.assert_good()


def test_a_client_that_goes_away_cancels_its_request(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    with running(limits(), loop_factory) as server:
        with server.connect() as sock:
            sock.sendall(request_of("/wait"))
            assert server.application.begun.wait(10)
            assert server.server.in_flight == server.server.connections == 1
        assert server.application.cancelled.wait(10)
        wait_until(lambda: server.server.in_flight == server.server.connections == 0)
    assert not caplog.records


def test_what_comes_while_a_request_is_answered_waits_outside(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with running(limits(), loop_factory) as server, server.connect() as sock:
        sock.sendall(request_of("/wait"))
        assert server.application.begun.wait(10)
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            send_again_and_again(sock, bytes(1_000_000), times=100)
        sock.settimeout(10)
        assert sum(len(one._pending) for one in server.server._open) <= 512 * 1024
        server.call(server.application.released.set)
        assert read_answer(sock) == (200, b"")
        assert read_answer(sock)[0] == 400  # a million NUL bytes are no request


def test_idle_connections_are_closed_after_their_time(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with running(limits(keep_alive_s=0.1, read_timeout_s=0.3), loop_factory) as server, server.connect() as sock:
        sock.sendall(GOOD)
        assert statuses(read_all(sock)) == [200]
        wait_until(lambda: server.server.connections == 0)


def test_a_client_that_doesn_t_read_its_answer_is_cut_off(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    for close in ("", "Connection: close\r\n"):
        with (
            running(limits(read_timeout_s=0.1), loop_factory) as server,
            server.connect(receive_buffer=4096) as sock,
        ):
            sock.sendall(request_of("/large?size=30000000", headers=close))
            wait_until(lambda server=server: len(server.application.heads) == 1)
            wait_until(lambda server=server: server.server.connections == 0)


def test_a_client_that_reads_slowly_gets_all_of_a_large_answer(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    size = 20_000_000
    for close in ("", "Connection: close\r\n"):
        with running(limits(read_timeout_s=0.1), loop_factory) as server, server.connect() as sock:
            sock.sendall(request_of(f"/large?size={size}", headers=close))
            assert read_head(sock)[0] == 200
            missing = size
            while missing:
                piece = sock.recv(min(missing, 500_000))
                assert piece
                missing -= len(piece)
                time.sleep(0.005)


def test_the_socket_sends_at_once(server: Running) -> None:
    with server.connect() as sock:
        sock.sendall(GOOD)
        read_answer(sock)
        for one in server.server._open:
            accepted = one._transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_clients_in_many_threads_get_their_own_answers(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    wrong: list[tuple[int, bytes]] = []

    def ask(name: int) -> None:
        with server.connect() as sock:
            for number in range(50):
                body = b"%d of %d" % (number, name)
                sock.sendall(request_of("/echo", body))
                answer = read_answer(sock)
                if answer != (200, body):
                    wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
