"""How much memory this process has held."""

from __future__ import annotations

import resource
import sys


def peak_memory_mb() -> float:
    """Most resident memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere
