from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from mlstack.serving.keys import add_key
from mlstack.serving.logs import LONGEST_TEXT, JsonLog


@pytest.fixture
def output(tmp_path: Path) -> Iterator[BinaryIO]:
    with (tmp_path / "log").open("w+b") as file:
        yield file


def lines_of(output: BinaryIO) -> list[dict[str, Any]]:
    output.seek(0)
    return [json.loads(line) for line in output.read().splitlines()]


def test_an_event_is_a_line_of_json_with_the_time_in_utc(output: BinaryIO) -> None:
    log = JsonLog(output.fileno())
    log.event("request", request_id="7", method="POST", path="/predict", status=200, ms=4.25, client=None)
    log.event("model_loaded", level="warning", model="cats", count=np.int64(3), share=np.float32(0.5))
    log.close()
    first, second = lines_of(output)
    moment = datetime.fromisoformat(first.pop("at"))
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert first == {"level": "info", "event": "request", "request_id": "7", "method": "POST", "path": "/predict",
                     "status": 200, "ms": 4.25}  # fmt: skip
    assert (second["level"], second["model"], second["count"], second["share"]) == ("warning", "cats", 3, 0.5)


NASTY = [
    "a\nb\r\n",
    "\x1b[2J\0\x07",
    "\x7f\x85\x9b31m",
    "\u2028\u2029",
    "\ud800 alone",
    "猫",
    '"}',
    10**400,
    float("nan"),
]


@pytest.mark.parametrize("value", NASTY, ids=ascii)
def test_whatever_a_value_holds_it_stays_one_line_that_moves_no_cursor(output: BinaryIO, value: Any) -> None:
    log = JsonLog(output.fileno())
    log.event("request", path=value)
    log.close()
    output.seek(0)
    text = output.read().decode()
    assert len(text.splitlines()) == 1
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert (json.loads(text)["path"] in (value, None)) or value != value


def test_objects_that_json_does_not_know_are_named_and_long_texts_are_cut(output: BinaryIO) -> None:
    log = JsonLog(output.fileno())
    log.event("request", path="x" * 70_000, what=Path("a"), error=ValueError("no"))
    log.close()
    (line,) = lines_of(output)
    assert line["path"] == "x" * (LONGEST_TEXT - 1) + "…"
    assert (line["what"], line["error"]) == ("a", "no")


def test_a_key_that_a_client_puts_into_an_address_is_hidden(output: BinaryIO, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.txt", "alice", admin=False)
    log = JsonLog(output.fileno())
    log.event("request", path=f"/predict/{key}/x", query={"key": key})
    log.close()
    (line,) = lines_of(output)
    assert line["path"] == "/predict/mls_(hidden)/x"
    assert line["query"] == {"key": "mls_(hidden)"}


def test_a_pipe_that_nobody_reads_stops_nothing_and_the_lost_lines_are_counted() -> None:
    reader, writer = os.pipe()
    log = JsonLog(writer, waiting_bytes=100_000)
    while log.dropped < 5:  # each call comes back although pipe and queue are full
        log.event("request", path="x" * 1000)
    dropped = log.dropped
    received = bytearray()

    def read() -> None:
        while piece := os.read(reader, 65536):
            received.extend(piece)

    thread = threading.Thread(target=read)
    thread.start()
    while not log._queue.put(b"", 0) or log._queue._weight:  # until the queue is empty again
        thread.join(0.01)
    log.event("request", path="after")
    log.close()
    os.close(writer)
    thread.join()
    os.close(reader)
    lines = [json.loads(line) for line in received.splitlines()]
    assert sum(line["lines"] for line in lines if line["event"] == "log_dropped") == dropped
    assert any(line.get("path") == "after" for line in lines)


def test_closing_does_not_wait_for_ever_and_a_reader_who_left_is_no_error() -> None:
    reader, writer = os.pipe()
    log = JsonLog(writer)
    for _ in range(200):
        log.event("request", path="x" * 1000)
    log.close(0.05)  # the pipe takes 64 KiB and nobody reads
    os.close(reader)  # now the thread's write fails with EPIPE
    log._queue._thread.join(10)
    assert not log._queue._thread.is_alive()
    log.event("request", path="too late")
    assert log.dropped == 1
    os.close(writer)


def test_an_exception_is_one_line_with_its_traceback(output: BinaryIO) -> None:
    log = JsonLog(output.fileno())
    log.capture()
    logger = logging.getLogger("mlstack.serving.somewhere")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("model %s failed", "cats")
    logger.info("plain %s")
    logger.info("too many %s", 1, 2)
    log.close()
    failed, plain, misfit = lines_of(output)
    assert (failed["level"], failed["event"], failed["message"]) == ("error", "log", "model cats failed")
    assert failed["error"] == "ValueError: first\nsecond"
    assert "test_logs.py" in failed["traceback"]
    assert (plain["message"], misfit["message"]) == ("plain %s", "too many %s")


def test_closing_leaves_pythons_logging_as_it_was(output: BinaryIO) -> None:
    logger = logging.getLogger("mlstack.serving")
    before = (logger.level, logger.propagate, list(logger.handlers))
    log = JsonLog(output.fileno())
    log.capture()
    assert logger.handlers != before[2]
    log.close()
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_lines_of_many_threads_do_not_mix(output: BinaryIO) -> None:
    log = JsonLog(output.fileno())

    def write(number: int) -> None:
        for place in range(200):
            log.event("request", thread=number, place=place)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = lines_of(output)
    for number in range(4):
        assert [line["place"] for line in lines if line["thread"] == number] == list(range(200))
