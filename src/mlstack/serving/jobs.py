"""Short work that is no model's, such as decoding a small picture, for the threads that run the models.

With threads of its own, there would be more of them than cores: the system would take the processor from a batch in
its middle, for several milliseconds, and all requests of that batch would wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Worker(Protocol):
    """Whatever does work in threads: `ThreadPoolExecutor`, `Scheduler`."""

    def submit(self, call: Callable[..., Result], /, *arguments: Any) -> Future[Result]:
        """Call it soon, in a thread."""


class Job:
    """A call that waits for a thread, and its result."""

    __slots__ = ("_arguments", "_call", "future", "submitted")

    def __init__(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.future: Future[Any] = Future()
        self.submitted = time.monotonic()
        self._call, self._arguments = call, arguments

    def run(self) -> None:
        """Call, unless nobody waits any more."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._call(*self._arguments))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits; the thread goes on
            self.future.set_exception(error)
            del self  # the error's traceback holds this frame, and the future the error
