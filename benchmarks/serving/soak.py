"""Memory over a million requests: `python benchmarks/serving/soak.py` (or --minutes 20, or --requests 500000).

A tiny model, so that requests are many: nine minutes per million on a busy machine of two cores. Two services one
after the other: `plain`, without drift, experiment and journal, and `watched`, two models in an A/B test with drift,
a journal that is full early on the way, and /metrics and /status read every second. wrk keeps 16 connections busy,
and a client of ours opens a new connection for each of its requests. 40,000 requests come first, which fill what is
remembered of the newest answers.

Exit status 1 where the memory of the last quarter is more than 2 MB above that of the first one, or a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from load import Body, raw_bodies, run_load
from process import cpu_seconds, machine_load, resident_mb, thread_count
from services import our_service
from steady_client import SteadyClients
from tiny_bundles import make_bundle

BAR = 2.0  # MB
CONNECTIONS = 16
WARM_UP = 40_000  # requests
TURN = 10.0  # seconds of wrk between two looks at the goal
EVERY = 1.0  # seconds between two looks at memory
KINDS = ("plain", "watched")


def main() -> int:
    """One line a service."""
    parser = argparse.ArgumentParser(description="Watch the memory of a service of our own.")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=0.0, help="instead of a number of requests")
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    print(machine_load())
    fine = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in given.kinds.split(","):
            fine &= soak(kind, folder, given.requests, given.minutes)
    print(machine_load())
    return 0 if fine else 1


def soak(kind: str, folder: Path, requests: int, minutes: float) -> bool:
    """Print one service's figures; whether they are within their bars."""
    for number, label in enumerate(("a", "b")):
        if not (folder / label).exists():
            make_bundle(folder / label, name=label, seed=number)
    pictures = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
    body = raw_bodies(pictures, folder)
    bundles = str(folder / "a") if kind == "plain" else f"[{folder / 'a'},{folder / 'b'}]"
    with our_service(Path(bundles), settings(kind, folder)) as (url, process):
        pid = process.pid
        done, failures = send(url, body, WARM_UP, 0.0)
        began, spent = time.monotonic(), cpu_seconds(pid)
        with sampled(url, pid, read_pages=kind == "watched") as samples, strangers(url, pictures) as lost:
            done, more = send(url, body, requests, minutes * 60)
        seconds, spent = time.monotonic() - began, cpu_seconds(pid) - spent
        threads = thread_count(pid)
    failures += [*more, *lost]
    quarters = [float(np.mean(part)) for part in np.array_split(samples, 4)]
    grown = quarters[-1] - quarters[0]
    print(f"{kind}: {done:,} requests in {seconds / 60:.1f} min, {done / seconds:,.0f}/s, "
          f"{spent / done * 1e6:.0f} µs of processor each, {threads} threads")  # fmt: skip
    print(f"  memory by quarters {', '.join(f'{one:.2f}' for one in quarters)} MB: {grown:+.2f} (bar +{BAR}); "
          f"lowest {min(samples):.1f}, largest {max(samples):.1f}")  # fmt: skip
    print(f"  failed requests: {failures or 0} (bar 0)", flush=True)
    return grown <= BAR and not failures


def settings(kind: str, folder: Path) -> list[str]:
    """Of the service."""
    if kind == "plain":
        return ["serve.drift.enabled=false", "serve.device=cpu"]
    journal = [f"serve.journal.folder={folder / 'journal'}", "serve.journal.fraction=0.1", "serve.journal.max_mb=2"]
    return ["serve.split={a:50,b:50}", "serve.device=cpu", *journal]


def send(url: str, body: Body, requests: int, seconds: float) -> tuple[int, list[str]]:
    """Send so many requests, or for so long where that is above 0; how many were answered, and what failed."""
    done, failures, began = 0, [], time.monotonic()
    while (time.monotonic() - began < seconds) if seconds else (done < requests):
        load = run_load(f"{url}/predict", body, connections=CONNECTIONS, seconds=TURN)
        done += load.requests
        failures += [load.failures] if load.failures else []
    return done, failures


@contextmanager
def sampled(url: str, pid: int, *, read_pages: bool) -> Iterator[list[float]]:
    """Memory in MB, looked at while the block lasts."""
    samples, end = [resident_mb(pid)], threading.Event()

    def look() -> None:
        while not end.wait(EVERY):
            for page in ("/metrics", "/status") if read_pages else ():
                with contextlib.suppress(OSError), urllib.request.urlopen(url + page, timeout=10) as answer:
                    answer.read()
            samples.append(resident_mb(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        end.set()
        thread.join()


@contextmanager
def strangers(url: str, pictures: np.ndarray) -> Iterator[list[str]]:
    """A client that opens a connection for each request; what failed, filled in at the end of the block."""
    lost: list[str] = []
    end = threading.Event()

    async def ask() -> None:
        port = int(url.rpartition(":")[2])
        clients = SteadyClients(port, pictures, lambda _, __: "", count=1, pause_s=0.01, keep=False)
        while not end.is_set():
            await asyncio.sleep(0.1)
            clients.tally.seconds.clear()
        lost.extend((await clients.stop()).failures)

    thread = threading.Thread(target=lambda: asyncio.run(ask()), daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        end.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
