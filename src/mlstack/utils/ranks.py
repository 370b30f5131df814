"""Which of several processes of one run this is, known from the environment before any framework is up."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints: rank 0, or the only one."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
