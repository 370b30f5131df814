"""The `serve` image in figures, each with its bar: `python benchmarks/containers/serve_image.py BUNDLE`.

    size         uncompressed, and what it is made of
    start        from `docker run` to the first answer: seconds by the clock, and of the processor (cgroup)
    memory       after 64 connections have asked (cgroup, without files that the kernel may forget)
    throughput   against the same service outside of a container, in turns: requests a second, which mean something on
                 a quiet machine only, and requests a second of processor time

Needs wrk, and the image (make image-cpu). Asked by the container's own address: what is published on 127.0.0.1 goes
through a program of Docker's in between. Some two minutes; exit status 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "serving"))
sys.path.append(str(Path(__file__).parents[2] / "tests" / "containers"))

from engine import SERVE, Docker, running_engine
from load import Body, photographs, raw_bodies, run_load, upload_bodies
from process import cpu_seconds as process_cpu_seconds
from process import machine_load, resident_mb
from services import our_service

from mlstack.bundle.folder import read_bundle

SIZE_BAR, WALL_BAR, CPU_BAR, MEMORY_BAR, RATIO_BAR = 170.0, 3.0, 1.0, 200.0, 0.95  # MB, seconds, seconds, MB
CONNECTIONS = 64
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
SETTINGS = ("serve.allow_anonymous=true", "serve.access_log=false")
NAME = "mltest-benchmark"
SHOWN = 12  # parts of the image


def main() -> int:
    """All figures, and which of them miss."""
    parser = argparse.ArgumentParser(description="Measure the serve image.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--image", default=SERVE)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    print(machine_load())
    with running_engine() as docker, tempfile.TemporaryDirectory() as folder:
        if not docker.has_image(given.image):
            print(f"there is no image {given.image}: make image-cpu", file=sys.stderr)
            return 2
        measured = [size(docker, given.image, Path(folder)), *starts(docker, given.image, given.bundle, given.starts)]
        bodies = make_bodies(given.bundle, Path(folder))
        measured += under_load(docker, given.image, given.bundle, bodies, rounds=given.rounds, seconds=given.seconds)
    print(machine_load())
    return 0 if all(measured) else 1


def judge(name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None) -> bool:
    """One line: the figure, its bar, and whether it keeps to it."""
    kept = (most is None or value <= most) and (least is None or value >= least)
    bar = f"≤ {most:g}" if most is not None else f"≥ {least:g}"
    print(f"{name:44} {value:8.2f} {unit:5} {bar:>7}  {'ok' if kept else 'MISSED'}", flush=True)
    return kept


def size(docker: Docker, image: str, folder: Path) -> bool:
    """Size of the image and of its largest parts."""
    container = docker.run("create", image)
    try:
        docker.run("export", "--output", folder / "files.tar", container)
    finally:
        docker.run("rm", container)
    parts: Counter[str] = Counter()
    with tarfile.open(folder / "files.tar") as files:
        for file in files:
            parts[part_of(file.name)] += file.size
    kept = judge("size", docker.size(image) / 1e6, "MB", most=SIZE_BAR)
    for part, weight in parts.most_common(SHOWN):
        print(f"    {part:40} {weight / 1e6:8.2f} MB")
    print(f"    {'everything else':40} {sum(weight for _, weight in parts.most_common()[SHOWN:]) / 1e6:8.2f} MB")
    return kept


def part_of(name: str) -> str:
    """What a file of the image belongs to."""
    folder, _, inside = name.partition("/site-packages/")
    if inside:
        return inside.partition("/")[0].removesuffix(".libs")
    if "/python3" in folder:
        return "Python's standard library"
    return {"usr": "Python itself, libraries of the system", "app": "this package"}.get(folder.split("/")[0], "rest")


@contextmanager
def started(docker: Docker, image: str, bundle: Path) -> Iterator[str]:
    """The address of a container that is being started."""
    docker.run("rm", "--force", NAME, check=False)
    docker.run("run", "-d", "--name", NAME, *HARDENED, "-v", f"{bundle.resolve()}:/bundle:ro", image, *SETTINGS)
    try:
        yield docker.run("inspect", "--format", "{{.NetworkSettings.IPAddress}}", NAME)
    finally:
        docker.run("rm", "--force", NAME)


def starts(docker: Docker, image: str, bundle: Path, count: int) -> list[bool]:
    """Several starts, each up to the first answer; the median counts."""
    picture = read_bundle(bundle).metadata.input
    body = bytes(picture.height * picture.width * picture.channels)
    waited, spent = [], []
    for _ in range(count):
        began = time.perf_counter()
        with started(docker, image, bundle) as address:
            ask_until_answered(address, body)
            waited.append(time.perf_counter() - began)
            spent.append(cpu_seconds(docker))
    print(f"starts: {', '.join(f'{wall:.2f} s ({cpu:.2f} s)' for wall, cpu in zip(waited, spent, strict=True))}")
    return [
        judge("docker run to the first answer", statistics.median(waited), "s", most=WALL_BAR),
        judge("  of it on the processor", statistics.median(spent), "s", most=CPU_BAR),
    ]


def ask_until_answered(address: str, body: bytes) -> None:
    """Ask for one picture, again and again until the service listens.

    Raises:
        RuntimeError: It didn't within a minute.
    """
    last = time.perf_counter() + 60
    while time.perf_counter() < last:
        connection = http.client.HTTPConnection(address, 8000, timeout=5)
        try:
            connection.request("POST", "/predict", body, {"content-type": "application/octet-stream"})
            if connection.getresponse().read() and connection.sock is not None:
                return
        except OSError:
            time.sleep(0.01)
        finally:
            connection.close()
    raise RuntimeError("no answer within a minute")


def make_bodies(bundle: Path, folder: Path) -> dict[str, tuple[str, Body]]:
    """Rows and photographs, with the addresses that take them."""
    picture = read_bundle(bundle).metadata.input
    shape = (32, picture.height, picture.width, picture.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return {
        "raw": ("/predict", raw_bodies(images, folder)),
        "upload": ("/predict_image", upload_bodies(photographs(32), folder)),
    }


@dataclass(frozen=True)
class Turn:
    """Some seconds of load: answers a second, and a second of processor time."""

    per_second: float
    per_cpu_second: float


def turn(url: str, body: Body, seconds: float, spent: Callable[[], float]) -> Turn:
    """One turn; `spent` tells the service's processor time so far, in seconds."""
    before = spent()
    load = run_load(url, body, connections=CONNECTIONS, seconds=seconds)
    return Turn(load.per_second, load.per_second * load.seconds / (spent() - before))


def under_load(
    docker: Docker, image: str, bundle: Path, bodies: dict[str, tuple[str, Body]], *, rounds: int, seconds: float
) -> list[bool]:
    """Memory and throughput, inside and outside in turns; the median of the rounds' ratios counts."""
    kept, largest = [], 0.0
    with started(docker, image, bundle) as address, our_service(bundle) as (outside, process):
        ask_until_answered(address, b"")
        services = {
            "inside": (f"http://{address}:8000", lambda: cpu_seconds(docker)),
            "outside": (outside, lambda: process_cpu_seconds(process.pid)),
        }
        for kind, (path, body) in bodies.items():
            rows: list[dict[str, Turn]] = []
            for _ in range(rounds + 1):  # the first one warms up
                order = list(services) if len(rows) % 2 else list(reversed(services))
                rows.append({one: turn(services[one][0] + path, body, seconds, services[one][1]) for one in order})
                largest = max(largest, memory_mb(docker))
            kept += compare(kind, rows[1:])
        kept.append(judge(f"memory, {CONNECTIONS} connections", largest, "MB", most=MEMORY_BAR))
        print(f"    resident of the process, shared libraries included {resident_mb(pid(docker)):.0f} MB")
    return kept


def compare(kind: str, rows: list[dict[str, Turn]]) -> list[bool]:
    """Inside : outside, the median of the rounds."""
    kept = []
    for name, rate in (
        ("a second", lambda one: one.per_second),
        ("a processor second", lambda one: one.per_cpu_second),
    ):
        ratio = statistics.median(rate(row["inside"]) / rate(row["outside"]) for row in rows)
        inside, outside = (statistics.median(rate(row[place]) for row in rows) for place in ("inside", "outside"))
        kept.append(judge(f"{kind}: {inside:.0f} : {outside:.0f} {name}", ratio, "", least=RATIO_BAR))
    return kept


def pid(docker: Docker) -> int:
    """The container's process 1, as this machine numbers it."""
    return int(docker.run("inspect", "--format", "{{.State.Pid}}", NAME))


def group(docker: Docker, controller: str) -> Path:
    """The folder of the container's control group, of version 2 or 1 of the kernel's interface."""
    for line in Path(f"/proc/{pid(docker)}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path("/sys/fs/cgroup", controller) / path.lstrip("/")
        unified = Path("/sys/fs/cgroup") / path.lstrip("/")
        if not controllers and (unified / "memory.current").exists():
            return unified
    raise RuntimeError(f"no control group of {controller} in {NAME}")


def cpu_seconds(docker: Docker) -> float:
    """Processor time of everything in the container."""
    folder = group(docker, "cpuacct")
    if (folder / "cpuacct.usage").exists():
        return int((folder / "cpuacct.usage").read_text()) / 1e9
    return fields(folder / "cpu.stat")["usage_usec"] / 1e6


def memory_mb(docker: Docker) -> float:
    """Memory that the container holds, as `docker stats` counts it, in 10^6 bytes."""
    folder = group(docker, "memory")
    old = (folder / "memory.usage_in_bytes").exists()
    usage = int((folder / ("memory.usage_in_bytes" if old else "memory.current")).read_text())
    return (usage - fields(folder / "memory.stat")["total_inactive_file" if old else "inactive_file"]) / 1e6


def fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


if __name__ == "__main__":
    sys.exit(main())
