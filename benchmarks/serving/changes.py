"""50 hot reloads and SIGTERM under load: `python benchmarks/serving/changes.py`.

Ten seconds with the tiny model that is made for it. Eight clients ask without a pause on connections that they keep,
two on a new one for each request, and check each answer: the outputs have to be those of the version that the answer
names. Meanwhile two versions take each other's place on the disk and POST /admin/reload is sent; at the end, in the
middle of the load, SIGTERM.

Exit status 1 unless every reload was seen in the answers, no request was lost or answered by a mixture of versions, the
exit status is 0, no process is left over, and memory grew by less than 30 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from process import machine_load, resident_mb, session_members, thread_count
from services import our_service
from steady_client import SteadyClients, Tally
from two_versions import TwoVersions

MEMORY_BAR = 30.0  # MB
CLIENTS, STRANGERS = 8, 2  # on kept connections, and on a new one for each request
BETWEEN = 50  # answers between two reloads, and before the end
SETTINGS = ("serve.reload_s=0", "serve.device=cpu")


def main() -> int:
    """Change, end, and print what the clients saw."""
    parser = argparse.ArgumentParser(description="Reload and end a service of our own under load.")
    parser.add_argument("--reloads", type=int, default=50)
    given = parser.parse_args()
    print(machine_load())
    with tempfile.TemporaryDirectory() as folder:
        versions = TwoVersions(Path(folder) / "bundle")
        with our_service(versions.path, SETTINGS) as (url, process):
            began = time.monotonic()
            tally, facts = asyncio.run(_change(int(url.rpartition(":")[2]), versions, process, given.reloads))
            status = process.wait(30)
            left = session_members(process.pid)
    before, first, after = facts["memory"]
    print(f"{given.reloads} reloads and SIGTERM in {time.monotonic() - began:.0f} s, {CLIENTS} + {STRANGERS} clients")
    print(f"answers: {tally.right:,} right; lost or wrong: {dict(tally.failures) or 0} (bar 0)")
    print(f"reloads whose version was seen in answers: {facts['seen']} of {given.reloads}")
    longest, late = max(tally.seconds) * 1000, float(np.quantile(tally.seconds, 0.99)) * 1000
    print(f"p99 {late:.0f} ms, longest {longest:.0f} ms; a reload {facts['reload_ms']:.0f} ms")
    print(f"memory {before:.0f} MB, after 10 reloads {first:.0f}, after all {after:.0f} (bar +{MEMORY_BAR:.0f})")
    print(f"threads before and after: {facts['threads']}")
    print(f"SIGTERM: exit status {status} (bar 0) after {facts['ending_s']:.2f} s; {tally.ended} connections told so")
    print(f"processes left over: {len(left)} (bar 0)")
    print(machine_load())
    fine = not tally.failures and facts["seen"] == given.reloads and status == 0 and not left
    return int(not fine or after - before > MEMORY_BAR)


async def _change(
    port: int, versions: TwoVersions, process: subprocess.Popen[str], reloads: int
) -> tuple[Tally, dict[str, object]]:
    clients = SteadyClients(port, versions.pictures, versions.wrong, count=CLIENTS)
    strangers = SteadyClients(port, versions.pictures, versions.wrong, count=STRANGERS, keep=False)
    await clients.reach(20 * BETWEEN)
    memory, threads = [resident_mb(process.pid)] * 2, thread_count(process.pid)
    seen, spent = 0, []
    for number in range(reloads):
        version = await asyncio.to_thread(versions.exchange)
        started = time.monotonic()
        await versions.reload(port)
        spent.append(time.monotonic() - started)
        await asyncio.gather(clients.settle(), strangers.settle())
        versions.answered = Counter()
        await clients.reach(BETWEEN)
        seen += set(versions.answered) == {version}
        if number == min(reloads, 10) - 1:
            memory[1] = resident_mb(process.pid)
    facts: dict[str, object] = {
        "memory": (*memory, resident_mb(process.pid)),
        "threads": (threads, thread_count(process.pid)),
        "seen": seen,
        "reload_ms": float(np.median(spent)) * 1000,
    }
    await clients.reach(BETWEEN)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 30)
    facts["ending_s"] = time.monotonic() - started
    tally, other = await asyncio.gather(clients.stop(), strangers.stop())
    return replace(tally, right=tally.right + other.right, failures=tally.failures + other.failures), facts


if __name__ == "__main__":
    sys.exit(main())
