"""1,000 hostile and broken connections beside good traffic: `python benchmarks/serving/attacks.py`.

One to two minutes. A tiny model is served; half of the attacks are one of each kind in turns (wrong heads, smuggling,
wrong JSON, .npy, forms and pictures, pictures of 13,000 × 13,000 pixels, bodies beyond the limit), the others are
requests that are cut, reset, half closed, sent byte by byte or not to their end, at random places. Four clients ask on
kept connections all the while and check each answer.

Exit status 1 unless no client's mistake got a 5xx or nothing at all, no good request was lost or wrong, the service is
alive, and its memory is within 30 MB of what it was.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from attack_cases import Attack, attacks, interruptions
from attackers import Outcomes, carry_out
from process import MemoryWatch, cpu_seconds, machine_load, resident_mb
from services import our_service
from steady_client import SteadyClients, Tally, differs_from
from tiny_bundles import make_bundle

from mlstack.bundle.folder import Bundle
from mlstack.bundle.session import Session

MEMORY_BAR = 30.0  # MB
AT_ONCE = 64
WARM_UP = 2000  # good requests before memory is looked at
SETTINGS = ("serve.read_timeout_s=2", "serve.device=cpu")


def main() -> int:
    """Attack, and print what came of it."""
    parser = argparse.ArgumentParser(description="Attack a service of our own.")
    parser.add_argument("--attacks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(machine_load())
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle")
        with our_service(bundle.path, SETTINGS) as (url, process):
            pid, began = process.pid, time.monotonic()
            port = int(url.rpartition(":")[2])
            asyncio.run(_good_requests(port, bundle, WARM_UP))
            before, spent = resident_mb(pid), cpu_seconds(pid)
            with MemoryWatch(pid) as memory:
                outcomes, tally = asyncio.run(_attack(port, bundle, given.attacks, given.seed))
            after_all = asyncio.run(_good_requests(port, bundle, WARM_UP))
            grown = resident_mb(pid) - before
            alive = process.poll() is None and not after_all.failures
            spent = cpu_seconds(pid) - spent
    seconds = time.monotonic() - began
    answers = ", ".join(f"{count} × {status or 'none'}" for status, count in sorted(outcomes.statuses.items()))
    print(f"{sum(outcomes.statuses.values())} attacks in {seconds:.0f} s; first answers: {answers}")
    for finding in outcomes.findings:
        print(f"  {finding}")
    worst = max(tally.seconds) * 1000
    middle, late = (float(np.quantile(tally.seconds, share)) * 1000 for share in (0.5, 0.99))
    print(f"attacks that were not answered as they should be: {len(outcomes.findings)} (bar 0)")
    print(f"good requests: {tally.right:,} right; lost or wrong: {dict(tally.failures) or 0} (bar 0)")
    print(f"their p50 {middle:.1f} ms, p99 {late:.0f} ms, longest {worst:.0f} ms; {spent:.0f} s of processor")
    print(f"alive afterwards: {'yes' if alive else 'NO'}")
    print(f"memory {before:.0f} MB, at most {memory.largest_mb:.0f}, then {grown:+.1f} (bar +{MEMORY_BAR:.0f})")
    print(machine_load())
    return int(bool(outcomes.findings or tally.failures or not alive or grown > MEMORY_BAR))


async def _attack(port: int, bundle: Bundle, count: int, seed: int) -> tuple[Outcomes, Tally]:
    kinds, cuts = attacks(), list(interruptions(count // 2, seed))
    mixed: list[Attack] = [*islice(cycle(kinds), count - len(cuts)), *cuts]
    order = np.random.default_rng(seed).permutation(len(mixed))
    clients = _clients(port, bundle, pause_s=0.005)
    outcomes = await carry_out((mixed[place] for place in order), port, at_once=AT_ONCE)
    return outcomes, await clients.stop()


async def _good_requests(port: int, bundle: Bundle, count: int) -> Tally:
    clients = _clients(port, bundle)
    await clients.reach(count)
    return await clients.stop()


def _clients(port: int, bundle: Bundle, *, pause_s: float = 0.0) -> SteadyClients:
    pictures = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
    outputs = {bundle.metadata.version: Session(bundle.model()).run(pictures).output}
    return SteadyClients(port, pictures, differs_from(outputs, bundle.metadata.classes), pause_s=pause_s)


if __name__ == "__main__":
    sys.exit(main())
