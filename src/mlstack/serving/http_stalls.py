"""Notice a client that doesn't read its answer."""

from __future__ import annotations

import asyncio
import math


class StallWatch:
    """Watches what waits to be sent. A client that reads some of it in each period, however little, is not stalled.

    Args:
        transport: Its write buffer is looked at.
        seconds: A period.
    """

    def __init__(self, transport: asyncio.WriteTransport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._next = math.inf
        self._size = 0

    @property
    def full(self) -> bool:
        """So much waits to be sent that no further answer is to be written."""
        return self._next != math.inf

    @property
    def sending(self) -> bool:
        """Something waits to be sent."""
        return self._transport.get_write_buffer_size() > 0

    def begin(self, now: float) -> None:
        """The buffer is full."""
        self._size = self._transport.get_write_buffer_size()
        self._next = now + self._seconds

    def end(self) -> None:
        """There is room in the buffer again."""
        self._next = math.inf

    def stalled(self, now: float) -> bool:
        """Nothing was read in a whole period; `now` is the loop's time."""
        if now < self._next:
            return False
        before = self._size
        self.begin(now)
        return not 0 < self._size < before
