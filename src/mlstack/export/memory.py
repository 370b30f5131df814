"""How much memory a process needs that does nothing but load a model file and answer with it.

It is measured in a fresh process, as the most that was resident at any time, with nothing taken off: Python, NumPy and
ONNX Runtime are in it, as they are in a server. The child runs this very file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mlstack.errors import BundleError
from mlstack.utils.memory import peak_memory_mb

CALLS = 3  # the arena of the runtime has its final size after the second one
LONGEST = 300  # seconds


def peak_memory(path: Path, shape: Sequence[int], *, threads: int = 1) -> float:
    """Most memory that a process of its own holds while it answers for a batch, in MiB.

    Args:
        path: An ONNX file of a bundle.
        shape: Of the batch: images, height, width, channels.
        threads: Of the runtime.

    Raises:
        BundleError: The process failed: the file can't be loaded, or the machine's memory is too small.
    """
    command = [sys.executable, "-m", __name__, str(path), str(threads), *map(str, shape)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=True)
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{path} has not answered {CALLS} times within {LONGEST} seconds") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}, no message"]
        raise BundleError(f"{path} could not be run in a process of its own: {lines[-1]}") from error
    return float(answer.stdout.split()[-1])


def _answer(path: Path, threads: int, shape: Sequence[int]) -> float:
    """What the child does: load, answer, and tell its own peak in MiB."""
    import numpy as np

    from mlstack.bundle.session import Session

    session = Session(path, threads=threads)
    images = np.zeros(shape, np.uint8)
    for _ in range(CALLS):
        session.run(images)
    return _own_peak()


def _own_peak(status: Path = Path("/proc/self/status")) -> float:
    """Peak of this program alone, in MiB.

    Linux counts in `ru_maxrss` what the parent held when it started this process: with a data set in the parent's
    memory it would tell that. The kernel's VmHWM starts anew with the program.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:  # no Linux
        return peak_memory_mb()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024  # kB there are KiB


if __name__ == "__main__":
    print(_answer(Path(sys.argv[1]), int(sys.argv[2]), [int(word) for word in sys.argv[3:]]))
