"""Start-up against the usual template's way: `python benchmarks/startup.py`, 1 minute.

Whole processes in turns, `--help` and `--cfg job`: CPU milliseconds and peak memory of our `scripts/train.py` and of
`_peer.py`, which imports torch, Lightning, torchmetrics and Hydra before it looks at its command line. Expect 0.5 s or
less for ours, and 10 × or more. The peer needs `rich`, which `make setup-dev` installs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from _timing import Row, median_ratio, print_table

# This process imports no framework: a child's peak memory is never less than its parent's was at the fork.
HERE = Path(__file__).parent
SCRIPTS = {"the template's way": HERE / "_peer.py", "mlstack": HERE.parent / "scripts" / "train.py"}
ROUNDS = 3
LIMIT = 500  # CPU milliseconds that ours may take


def main() -> None:
    """Print a table of time and one of memory for each of the two."""
    for arguments in (["--help"], ["--cfg", "job"]):
        compare(arguments)


def compare(arguments: list[str]) -> None:
    """Start both scripts in turns, once unmeasured; print what a start costs."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in SCRIPTS}
    for _ in range(ROUNDS + 1):
        for name, script in SCRIPTS.items():
            costs[name].append(cost_of([sys.executable, str(script), *arguments]))
    for what, unit, column in (("time", "CPU milliseconds", 0), ("memory", "peak MiB", 1)):
        (peer, theirs), (own, ours) = ((name, [row[column] for row in rows[1:]]) for name, rows in costs.items())
        limit = f"at most {LIMIT}: {'ok' if median(ours) <= LIMIT else 'short'}" if what == "time" else ""
        rows = [Row(peer, median(theirs)), Row(own, median(ours), median_ratio(ours, theirs), note=limit)]
        print_table(f"{' '.join(arguments)}: {what}, less is better", unit, rows)


def cost_of(command: list[str]) -> tuple[float, float]:
    """CPU milliseconds and peak memory in MiB of a process.

    Raises:
        ChildProcessError: It failed.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ChildProcessError(f"{' '.join(command)} ended with status {process.returncode}:\n{errors}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # what ru_maxrss counts in: bytes, or KiB
    return 1e3 * (used.ru_utime + used.ru_stime), used.ru_maxrss / unit


if __name__ == "__main__":
    main()
