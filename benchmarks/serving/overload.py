"""Ten times as many clients as the service can serve: `python benchmarks/serving/overload.py BUNDLE`.

Two minutes with the default 60 seconds. 640 connections send pictures without a pause to a service with default
settings, whose queue holds 256: what finds no room is told so with a 429, and its client asks again at once, which is
ruder than clients are. 32 of the connections are ours and time each answer, the others are wrk's. Before and after,
64 connections show what it does in peace, and a single one how long an answer takes.

Exit status 1 where a bar is missed: nothing but 200 and 429 and no time-out; p99 of the answers of 200 within 2 x queue
/ throughput; memory within 30 MB of what it was; a second after the end, one connection waits no longer than before.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from load import Body, Load, raw_bodies, run_load
from process import MemoryWatch, machine_load, peak_mb, resident_mb
from services import our_service
from steady_client import connected, post, read_answer

from mlstack.bundle.folder import read_bundle
from mlstack.config.serving import ServeSettings
from startup import pictures

MANY, OURS, USUAL = 640, 32, 64  # connections
PATIENCE = 20.0  # seconds; the service's own deadline is 10
MEMORY_BAR = 30.0  # MB
SLOWER_BAR = 1.5  # one connection's median afterwards, relative to before
CALM_S = 4.0  # how long that one asks


@dataclass
class Timed:
    """What connections of ours saw.

    Attributes:
        seconds: Of each answer of 200.
        begun: When each of those was asked, `time.monotonic()`.
        others: Anything else, by status or name.
    """

    seconds: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def quantile(self, share: float, *, since: float = 0.0) -> float:
        """In milliseconds, of the requests begun after `since`."""
        kept = [one for one, at in zip(self.seconds, self.begun, strict=True) if at >= since]
        return float(np.quantile(kept, share)) * 1000 if kept else float("nan")


def main() -> int:
    """Before, during, after; then the figures beside their bars."""
    parser = argparse.ArgumentParser(description="Overload a service of our own.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    images = pictures(read_bundle(given.bundle).metadata.input, 16)
    requests = [post("/predict", image.tobytes(), "application/octet-stream") for image in images]
    settings = [f"serve.precision={given.precision}", "serve.device=cpu"]
    print(machine_load())
    with tempfile.TemporaryDirectory() as folder, our_service(given.bundle, settings) as (url, process):
        body, port, pid = raw_bodies(images, Path(folder)), int(url.rpartition(":")[2]), process.pid
        run_load(f"{url}/predict", body, connections=USUAL, seconds=5)
        usual = run_load(f"{url}/predict", body, connections=USUAL, seconds=10)
        calm = asyncio.run(ask(port, requests, 1, CALM_S))
        memory_before = resident_mb(pid)
        with MemoryWatch(pid) as memory:
            crowd, ours = overload(url, port, body, requests, given.seconds)
        ended = time.monotonic()
        after = asyncio.run(ask(port, requests, 1, 1.0 + CALM_S))
        memory_after, peak = resident_mb(pid), peak_mb(pid)
        again = run_load(f"{url}/predict", body, connections=USUAL, seconds=10)
    print(machine_load())
    accepted = crowd.per_second + len(ours.seconds) / given.seconds
    peace = (usual.per_second + again.per_second) / 2
    allowed = 2 * ServeSettings().queue_images / accepted * 1000
    refused = crowd.refused.get("429", 0)
    strange = {name: count for name, count in crowd.refused.items() if name != "429"}
    strange |= {name: count for name, count in ours.others.items() if name != "429"}
    lost = {name: getattr(crowd, name) for name in ("connect", "read", "write", "timeout") if getattr(crowd, name)}
    late, slower = ours.quantile(0.99), after.quantile(0.5, since=ended + 1) / calm.quantile(0.5)
    grown = max(memory.largest_mb, memory_after) - memory_before
    print(f"{USUAL} connections: {usual.per_second:.0f} before and {again.per_second:.0f} requests/s after, "
          f"p99 {usual.p99_ms:.0f} and {again.p99_ms:.0f} ms")  # fmt: skip
    print(f"{MANY} connections, {given.seconds:.0f} s: {accepted:.0f} accepted/s, {accepted / peace:.2f} of that; "
          f"{refused / crowd.seconds:,.0f} refused/s")  # fmt: skip
    print(f"time-outs and lost connections: {lost or 0}; answers but 200 and 429: {strange or 0} (bars 0)")
    print(f"accepted, {len(ours.seconds)} timed: p50 {ours.quantile(0.5):.0f} ms, longest {ours.quantile(1):.0f} ms")
    print(f"  p99 {late:.0f} ms, 2 × queue / throughput = {allowed:.0f} ms: {late / allowed:.2f} (bar 1)")
    print(f"memory {memory_before:.0f} MB, at most {memory.largest_mb:.0f}, then {memory_after:.0f}: {grown:+.0f} "
          f"(bar +{MEMORY_BAR:.0f}); peak since the start {peak:.0f}")  # fmt: skip
    print(f"one connection: p50 {calm.quantile(0.5):.1f} ms before; {after.quantile(0.5, since=ended + 1):.1f} ms from "
          f"1 s after the end on: {slower:.2f} × (bar {SLOWER_BAR})")  # fmt: skip
    fine = not lost and not strange and late <= allowed and grown <= MEMORY_BAR and slower <= SLOWER_BAR
    return 0 if fine else 1


def overload(url: str, port: int, body: Body, requests: list[bytes], seconds: float) -> tuple[Load, Timed]:
    """All connections at once: what wrk saw, and what ours did."""
    with ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(run_load, f"{url}/predict", body, connections=MANY - OURS, seconds=seconds)
        ours = asyncio.run(ask(port, requests, OURS, seconds))
        return crowd.result(), ours


async def ask(port: int, requests: list[bytes], clients: int, seconds: float) -> Timed:
    """Ask again and again on kept connections."""
    timed, end = Timed(), time.monotonic() + seconds

    async def client(turn: int) -> None:
        async with connected(port) as (reader, writer):
            while (began := time.monotonic()) < end:
                turn = (turn + 1) % len(requests)
                writer.write(requests[turn])
                answer = await asyncio.wait_for(read_answer(reader), PATIENCE)
                if answer.status == 200:
                    timed.seconds.append(time.monotonic() - began)
                    timed.begun.append(began)
                else:
                    timed.others[str(answer.status)] += 1

    for failure in await asyncio.gather(*(client(number) for number in range(clients)), return_exceptions=True):
        if failure is not None:
            timed.others[type(failure).__name__] += 1
    return timed


if __name__ == "__main__":
    sys.exit(main())
