"""Which kernels Paddle's matrix library takes on this processor.

Paddle 3.3.1 brings Intel's MKLML of 2019, which gives processors that are not Intel's its kernels for SSE: on an AMD
EPYC with AVX-512 a product of 512 × 512 matrices runs at 39 GFlop/s instead of 109, and ResNet-18 trains at 0.4 of the
speed. That library reads a variable that names the kernels outright; torch's, which is newer, doesn't.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlstack.utils.hardware import PROC, cpu_flags, cpu_vendor

VARIABLE = "MKL_DEBUG_CPU_TYPE"
AVX2, AVX512 = "5", "7"


def kernels(proc: Path = PROC) -> str | None:
    """What `VARIABLE` should hold; None where the library chooses well by itself, or nothing is known."""
    flags = cpu_flags(proc)
    if cpu_vendor(proc) in ("", "GenuineIntel"):
        return None
    if flags >= {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}:
        return AVX512
    return AVX2 if flags >= {"avx2", "fma"} else None


def choose_kernels() -> None:
    """Set the variable, before Paddle is imported; a value that is there already stays."""
    if (found := kernels()) is not None:
        os.environ.setdefault(VARIABLE, found)
