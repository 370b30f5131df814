"""Clients that ask again and again on connections that they keep, and notice every answer that is wrong or missing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATIENCE = 30.0  # seconds for an answer
READ_AT_ONCE = 2**20

Wrong = Callable[[int, Any], str]  # of a picture's place and the answer to it: what is wrong; empty = nothing


@dataclass
class Received:
    """An answer: status, headers with small letters, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Tally:
    """What clients saw.

    Attributes:
        right: Answers that were as they had to be.
        failures: What was lost or wrong, in words, and how often.
        ended: Connections that the service announced to end, with an answer.
        seconds: That each right answer took.
    """

    right: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    seconds: list[float] = field(default_factory=list)


async def read_answer(reader: asyncio.StreamReader) -> Received:
    """One answer.

    Raises:
        OSError, asyncio.IncompleteReadError: The connection ended before.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(int(first.split()[1]), headers, body)


def post(path: str, body: bytes, kind: str, *lines: str) -> bytes:
    """A request, whole."""
    more = "".join(f"{line}\r\n" for line in lines)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode("latin-1") + body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the service on this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=READ_AT_ONCE)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class SteadyClients:
    """Several clients, each with one connection, that send pictures in turns.

    Args:
        port: Of the service.
        pictures: uint8 [n, height, width, channel].
        wrong: Judges each answer that is a 200.
        count: Of clients.
        pause_s: Between an answer and the next request of the same client.
        path: What is asked.
        keep: Use a connection for more than one request.
    """

    def __init__(
        self,
        port: int,
        pictures: NDArray[np.uint8],
        wrong: Wrong,
        *,
        count: int = 4,
        pause_s: float = 0.0,
        path: str = "/predict",
        keep: bool = True,
    ) -> None:
        self.tally = Tally()
        self._port = port
        lines = () if keep else ("connection: close",)
        self._requests = [post(path, picture.tobytes(), "application/octet-stream", *lines) for picture in pictures]
        self._wrong = wrong
        self._pause_s = pause_s
        self._stop = asyncio.Event()
        self._turn = 0
        self._sent, self._answered = [0] * count, [0] * count  # by client
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(count)]

    async def stop(self) -> Tally:
        """Let each client get its last answer; what they saw."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        return self.tally

    async def reach(self, right: int) -> None:
        """Wait until so many answers more have come."""
        wanted = self.tally.right + right
        while self.tally.right < wanted and not all(task.done() for task in self._tasks):
            await asyncio.sleep(0.005)

    async def settle(self) -> None:
        """Wait until each request that is on its way now is answered."""
        sent = list(self._sent)
        while any(self._answered[one] < sent[one] and not self._tasks[one].done() for one in range(len(sent))):
            await asyncio.sleep(0.005)

    async def _client(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                async with connected(self._port) as (reader, writer):
                    await self._ask_on(number, reader, writer)
            except ConnectionRefusedError:  # nobody listens any more: nothing was sent
                return
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.tally.failures[f"lost: {type(error).__name__}"] += 1

    async def _ask_on(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask until the service announces that the connection ends."""
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            place = self._turn = (self._turn + 1) % len(self._requests)
            began = loop.time()
            self._sent[number] += 1
            writer.write(self._requests[place])
            answer = await asyncio.wait_for(read_answer(reader), PATIENCE)
            self._judge(place, answer, loop.time() - began)
            self._answered[number] += 1
            if answer.headers.get("connection") == "close":
                self.tally.ended += 1
                return
            if self._pause_s:
                await asyncio.sleep(self._pause_s)

    def _judge(self, place: int, answer: Received, seconds: float) -> None:
        fault = f"status {answer.status}" if answer.status != 200 else self._wrong(place, json.loads(answer.body))
        if fault:
            self.tally.failures[fault] += 1
        else:
            self.tally.right += 1
            self.tally.seconds.append(seconds)


def differs_from(outputs: Mapping[str, NDArray[np.float32]], classes: Sequence[str]) -> Wrong:
    """A judge that knows what each version of the model answers.

    Args:
        outputs: By version: probabilities float32 [picture, class].
        classes: Of all versions.
    """

    def wrong(place: int, answer: Any) -> str:
        version = answer["version"]
        if version not in outputs:
            return f"version {version}"
        shares = answer["predictions"][0]["probabilities"]
        expected = outputs[version][place]
        if any(abs(shares[name] - expected[classes.index(name)]) > 1e-4 for name in shares):
            return "the answer of another picture or model"
        return ""

    return wrong
