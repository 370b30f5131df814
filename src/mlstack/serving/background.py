"""Work that must not keep the event loop waiting: a bounded queue, and one thread that empties it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

LOG = logging.getLogger("mlstack.serving.background")
PAUSE = 0.01  # seconds that a woken thread waits for more: a hundred wake-ups a second at most, whatever the traffic

Item = TypeVar("Item")


class Background(Generic[Item]):
    """Hands items to `work`, many at a time and in their order, on a thread of its own.

    Args:
        work: Gets the items that wait. Should it raise, those are lost, which is logged, and the next ones follow.
        name: Of the thread.
        capacity: Most weight that may wait or be worked on; what comes beyond that is refused.

    Attributes:
        refused: Items that found no room, since the start.
    """

    def __init__(self, work: Callable[[list[Item]], None], *, name: str, capacity: int) -> None:
        self.refused = 0
        self._work = work
        self._capacity = capacity
        self._weight = 0
        self._items: list[tuple[Item, int]] = []
        self._lock = threading.Lock()
        self._filled = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item, weight: int = 1) -> bool:
        """Queue an item, at once; False: there is no room for it, or the queue was closed."""
        with self._lock:
            if self._weight + weight > self._capacity or self._closing.is_set():
                self.refused += 1
                return False
            self._weight += weight
            self._items.append((item, weight))
            wake = len(self._items) == 1
        if wake:
            self._filled.set()
        return True

    def close(self, seconds: float) -> bool:
        """Take nothing more and wait until everything is done, `seconds` at most; whether it is."""
        with self._lock:
            self._closing.set()
        self._filled.set()
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._filled.wait()
            self._closing.wait(PAUSE)
            with self._lock:
                taken, self._items = self._items, []
                self._filled.clear()
                ending = self._closing.is_set()
            try:
                if taken:
                    self._work([item for item, _ in taken])
            except Exception:
                LOG.exception("%s lost %d items", self._thread.name, len(taken))
            with self._lock:
                self._weight -= sum(weight for _, weight in taken)
            if ending:
                return
