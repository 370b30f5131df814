"""One connection, without sockets: a clock that a test turns, and what was written, paused and closed to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from echo_server import GOOD, Echo, limits, statuses

from mlstack.serving.http_connection import HttpConnection
from mlstack.serving.http_server import REFUSED_AT_ONCE, HttpServer
from mlstack.serving.http_stalls import StallWatch

LAST = GOOD.replace(b"Host", b"Connection: close\r\nHost")


class Wire(asyncio.Transport):
    """A transport whose client does what the test says; `waiting` bytes have not been taken by it."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.waiting = b"", 0
        self.closed = self.aborted = self.half_closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write_eof(self) -> None:
        self.half_closed = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


class StillLoop:
    """A loop whose time stands still until the test moves it, and that runs a task when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tasks: list[Coroutine[Any, Any, None]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, *_: object) -> None:
        return None

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> object:
        self.tasks.append(coroutine)
        return coroutine


class Line:
    """A server with one connection."""

    def __init__(self, **given: Any) -> None:
        self.loop = StillLoop()
        self.refusals: list[tuple[int, str]] = []
        self.server = HttpServer(Echo(), limits(**given), on_refusal=lambda *one: self.refusals.append(one))
        self.server.loop = cast("asyncio.AbstractEventLoop", self.loop)
        self.wire = Wire()
        self.connection = HttpConnection(self.server)
        self.connection.connection_made(self.wire)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def answer(self) -> None:
        """Let the application answer the request that has come."""
        with pytest.raises(StopIteration):
            self.loop.tasks.pop(0).send(None)

    def after(self, seconds: float) -> None:
        """So much later the server looks at its connections."""
        self.loop.now += seconds
        self.connection.check(self.loop.now)

    @property
    def ended(self) -> bool:
        return self.wire.closed or self.wire.aborted

    @property
    def answers(self) -> list[int]:
        return statuses(self.wire.written)


def begun(line: Line) -> None:
    line.send(GOOD[:20])


def in_its_body(line: Line) -> None:
    line.send(GOOD[:-1])


@pytest.mark.parametrize("stage", [begun, in_its_body])
def test_a_request_may_take_its_time_and_not_longer(stage: Callable[[Line], None]) -> None:
    line = Line(read_timeout_s=5.0)
    line.after(3.0)
    stage(line)  # its time begins with it
    line.after(4.9)
    assert line.wire.written == b""
    line.after(0.1)
    assert line.answers == [408]
    assert line.refusals == [(408, "timeout")]
    assert b"may take 5 s each" in line.wire.written
    assert line.wire.half_closed and not line.ended


def test_bytes_that_drip_in_do_not_prolong_the_time_of_a_head() -> None:
    line = Line(read_timeout_s=5.0)
    for at in range(4):
        line.send(GOOD[at : at + 1])
        line.after(1.25)
    assert line.answers == [408]


def test_a_new_connection_and_a_kept_one_are_closed_without_a_word_after_their_time() -> None:
    new, kept = Line(read_timeout_s=5.0), Line(keep_alive_s=75.0)
    kept.send(GOOD)
    kept.after(1000.0)  # an answer may take as long as it wants
    assert not kept.ended
    kept.answer()
    assert kept.answers == [200]
    for line, seconds in ((new, 5.0), (kept, 75.0)):
        line.after(seconds - 0.1)
        assert not line.ended
        line.after(0.1)
        assert line.wire.closed and not line.wire.aborted
    assert (new.answers, kept.answers) == ([], [200])


def test_only_a_connection_on_which_nothing_has_begun_is_idle() -> None:
    idle = Line()
    idle.connection.close_idle()
    assert idle.wire.closed
    for sent in (GOOD[:5], GOOD[:-1], GOOD):
        line = Line()
        line.send(sent)
        line.connection.close_idle()
        assert not line.ended
    for coroutine in line.loop.tasks:
        coroutine.close()


def test_a_request_is_unanswered_from_its_first_byte_until_its_answer_is_sent() -> None:
    line = Line()
    assert not line.connection.unanswered
    for at in (5, len(GOOD) - 1, len(GOOD)):
        line = Line()
        line.send(GOOD[:at])
        assert line.connection.unanswered
    line.answer()
    assert not line.connection.unanswered
    line.wire.waiting = 1
    assert line.connection.unanswered
    refused = Line()
    refused.send(b"nonsense")
    assert refused.answers == [400] and not refused.connection.unanswered


def test_after_a_last_answer_the_connection_is_closed_and_what_comes_is_not_answered() -> None:
    line = Line(read_timeout_s=5.0)
    line.send(LAST)
    line.answer()
    assert line.answers == [200] and line.wire.closed and not line.wire.half_closed
    line.send(GOOD)
    line.connection.close_idle()
    line.after(4.9)
    assert line.answers == [200] and not line.loop.tasks and not line.wire.aborted
    line.after(0.1)  # and nothing waits to be sent: whatever keeps it open, it is cut
    assert line.wire.aborted


def test_a_closing_connection_that_still_sends_has_a_period_to_go_on_in() -> None:
    line = Line(read_timeout_s=5.0)
    line.send(LAST)
    line.answer()
    line.wire.waiting = 1000
    line.after(5.0)
    assert not line.wire.aborted and line.connection.unanswered
    line.wire.waiting = 999
    line.after(5.0)
    assert not line.wire.aborted
    line.after(5.0)  # nothing was read in it
    assert line.wire.aborted


def test_a_refused_client_that_sends_on_is_listened_to_for_two_seconds_or_four_bodies() -> None:
    by_time, by_bytes = Line(max_body_bytes=1000), Line(max_body_bytes=1000)
    for line in (by_time, by_bytes):
        line.send(b"nonsense")
        assert line.wire.half_closed
        line.send(bytes(4000))
        assert not line.ended
    by_bytes.send(b"x")
    assert by_bytes.wire.aborted
    by_time.after(1.9)
    assert not by_time.wire.aborted
    by_time.after(0.1)
    assert by_time.wire.aborted
    assert by_time.answers == by_bytes.answers == [400]


def test_what_comes_while_a_request_is_answered_waits_and_is_answered_next() -> None:
    line = Line()
    line.send(GOOD)
    assert line.wire.reading
    line.send(GOOD)
    line.send(GOOD[:30])
    assert not line.wire.reading and len(line.loop.tasks) == 1
    line.answer()
    assert not line.wire.reading and len(line.loop.tasks) == 1  # a half request still waits behind the second one
    line.answer()
    assert line.wire.reading and line.answers == [200, 200] and line.connection.unanswered
    line.send(GOOD[30:])
    line.answer()
    assert line.answers == [200] * 3 and not line.connection.unanswered


def test_while_a_client_does_not_read_its_next_request_waits() -> None:
    line = Line(read_timeout_s=5.0)
    line.send(GOOD)
    line.connection.pause_writing()
    line.answer()
    line.send(GOOD)
    assert not line.loop.tasks
    line.wire.waiting = 0
    line.connection.resume_writing()
    line.answer()
    assert line.answers == [200, 200] and not line.ended


def test_a_client_that_has_gone_is_forgotten_with_the_bytes_of_its_body() -> None:
    line = Line()
    line.send(GOOD[:-1])
    assert (line.server.connections, line.server._held) == (1, 3)
    line.connection.connection_lost(None)
    assert (line.server.connections, line.server._held) == (0, 0)


def test_beyond_the_limit_a_connection_is_refused_and_far_beyond_it_is_cut() -> None:
    line = Line(max_connections=1)
    assert line.wire.written == b""
    wires = []
    for _ in range(REFUSED_AT_ONCE + 1):
        wires.append(Wire())
        HttpConnection(line.server).connection_made(wires[-1])
    assert all(statuses(wire.written) == [503] and not wire.aborted for wire in wires[:-1])
    assert wires[-1].aborted and wires[-1].written == b""


def test_a_small_body_of_a_refused_request_is_read_and_a_large_one_is_not() -> None:
    head = b"POST /refused HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
    small, large = Line(max_body_bytes=100_000), Line(max_body_bytes=100_000)
    small.send(head % 65536)
    large.send(head % 65537)
    assert small.answers == [] and large.answers == [401] and large.wire.half_closed
    small.send(bytes(65535))
    assert small.answers == [] and small.server._held == 0
    small.send(b"x" + GOOD)
    assert small.answers == [401] and not small.ended
    small.answer()
    assert small.answers == [401, 200]


def test_bodies_together_may_hold_sixteen_of_the_largest() -> None:
    line = Line(max_body_bytes=1000)
    line.server.hold(16_000 - 3)
    line.send(GOOD[:-1])
    assert line.answers == []
    line.send(GOOD[-1:])
    assert line.answers == [503]


def test_a_client_is_stalled_when_it_has_read_nothing_for_a_period() -> None:
    wire = Wire()
    watch = StallWatch(wire, 5.0)
    assert not watch.sending and not watch.full and not watch.stalled(1e9)
    wire.waiting = 10
    assert watch.sending and not watch.full
    watch.begin(100.0)
    assert watch.full and not watch.stalled(104.9)
    wire.waiting = 9
    assert not watch.stalled(105.0)  # it has read: another period
    assert not watch.stalled(109.9)
    assert watch.stalled(110.0)
    watch.end()
    assert not watch.full and not watch.stalled(1e9)
