"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import os
import threading
import time

WATCHED_EVERY = 0.5  # seconds


def end_with_parent(parent: int) -> None:
    """End this process, at once and without ceremony, when `parent` is gone: killed in a way that left it no time.

    Args:
        parent: The process number of whoever started this process.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCHED_EVERY)
        os._exit(1)

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()
