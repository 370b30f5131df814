"""Requests a second and latencies: our service and its peers, against the model called in a loop without any service.

    python benchmarks/serving/throughput.py BUNDLE                           # ours and all peers
    python benchmarks/serving/throughput.py BUNDLE --peers litserve2,naive --seconds 10 --kinds rows,upload

Peers are installed at first use (1.1 GB). All services are up, take turns at each kind of body, stand still between.
Each turn has one of the loop before it and one behind it (as many threads as usable cores, with one connection a single
one), and its ratio is to those two: a busy machine meets both. Ours and a peer's are compared round by round. For
photographs the loop decodes and resizes too. Expect two minutes a service and round with turns of 5 seconds. The usual
bundle is a ResNet-18 at 32 pixels:

    python scripts/train.py data=digits data.image_size=32 data.channels=3 model=resnet18 model.stem=standard
    python scripts/export.py run=latest
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from load import Body, Load, photographs, raw_bodies, rows_bodies, run_load, upload_bodies
from numpy.typing import NDArray
from peers import PEERS, install
from services import AnyProcess, awake, our_service, peer_service

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.session import Session
from mlstack.datasets.decode import PictureRule
from mlstack.utils.hardware import usable_cores

OURS = "ours"
KINDS = ("rows", "raw", "upload")
CONNECTIONS = (1, 16, 64)
SENT = 32  # different bodies of a kind
WARM_UP = 1.0  # seconds
BARS = {("rows", 64): 0.90, ("raw", 64): 0.93, ("upload", 64): 0.88}
TAIL_BAR = 1.3  # p99 at 64 connections, relative to 64 / throughput
PEER_BAR = ("litserve2", "upload", 64, 1.8)


@dataclass(frozen=True)
class Turn:
    """A service at one kind of body and one number of connections.

    Attributes:
        load: What wrk saw.
        limit: Pictures a second of the loop beside it.
        alone_ms: What one picture took in that loop, in milliseconds of its thread.
    """

    load: Load
    limit: float
    alone_ms: float

    @property
    def ratio(self) -> float:
        return self.load.per_second / self.limit


Results = dict[tuple[str, str, int], list[Turn]]
Service = tuple[str, AnyProcess, dict[str, tuple[str, Body]]]  # address; process; by kind: path and bodies


class Limit:
    """The model in a loop, with nothing around it.

    Args:
        bundle: What photographs are resized for.
        model: The ONNX file.
        images: uint8 [n, height, width, channel].
        files: Photographs as JPEG.
    """

    def __init__(self, bundle: Bundle, model: Path, images: NDArray[np.uint8], files: list[bytes]) -> None:
        picture = bundle.metadata.input
        size = (picture.height, picture.width)
        self.session = Session(model)
        self.rule = PictureRule(size, picture.decoded_size, picture.channels, picture.resize)
        self.images, self.files = images, files

    def ready(self, number: int) -> None:
        """One picture that is rows already."""
        place = number % len(self.images)
        self.session.run(self.images[place : place + 1])

    def photograph(self, number: int) -> None:
        """One picture that is decoded and resized first."""
        self.session.run(self.rule.read_bytes(self.files[number % len(self.files)])[None])

    def measure(self, kind: str, *, threads: int, seconds: float) -> float:
        """Pictures a second."""
        step = self.photograph if kind == "upload" else self.ready
        counts = [0] * threads
        stop = time.perf_counter() + seconds

        def work(mine: int) -> None:
            while time.perf_counter() < stop:
                step(counts[mine])
                counts[mine] += 1

        started = time.perf_counter()
        workers = [threading.Thread(target=work, args=(mine,)) for mine in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts) / (time.perf_counter() - started)


def turn_of(url: str, path: str, body: Body, limit: Limit, *, kind: str, count: int, seconds: float) -> Turn:
    """One kind of body with `count` connections at one running service."""
    threads = min(count, usable_cores())
    before = limit.measure(kind, threads=threads, seconds=seconds / 3)
    load = run_load(url + path, body, connections=count, seconds=seconds)
    rate = (before + limit.measure(kind, threads=threads, seconds=seconds / 3)) / 2
    return Turn(load, rate, 1000 * threads / rate)


def measure(services: dict[str, Service], limit: Limit, *, connections: list[int], seconds: float) -> Results:
    """A round: every kind and number of connections, the services one after the other at each."""
    results: Results = {}
    for kind in KINDS:
        for count in connections:
            for name, (url, process, bodies) in services.items():
                if kind in bodies:
                    with awake(process):
                        turn = turn_of(url, *bodies[kind], limit, kind=kind, count=count, seconds=seconds)
                    results[name, kind, count] = [turn]
                    print(
                        f"  {name:10} {kind:7} {count:3}: {turn.load.per_second:7,.0f}/s, {turn.ratio:.2f}", flush=True
                    )
    return results


def bodies_of(
    name: str, kinds: list[str], images: NDArray[np.uint8], files: list[bytes], folder: Path
) -> dict[str, tuple[str, Body]]:
    """Kind → address and bodies, of those kinds that a service takes."""
    if name == OURS:
        every = {
            "rows": ("/predict", rows_bodies(images, folder)),
            "raw": ("/predict", raw_bodies(images, folder)),
            "upload": ("/predict_image", upload_bodies(files, folder)),
        }
    else:
        peer = PEERS[name]
        every = {"rows": (peer.rows, rows_bodies(images, folder, protocol=peer.rows_protocol))}
        if peer.upload is not None:
            every["upload"] = (peer.upload, upload_bodies(files, folder, field=peer.field))
    return {kind: every[kind] for kind in kinds if kind in every}


@contextlib.contextmanager
def service(name: str, bundle: Bundle, precision: str) -> Iterator[tuple[str, AnyProcess]]:
    """Address and process of ours or of a peer's, as long as the block lasts."""
    if name == OURS:
        with our_service(bundle.path, [f"serve.precision={precision}"]) as running:
            yield running
    else:
        with peer_service(name, model=bundle.model(precision)) as running:
            yield running


def middle(turns: list[Turn], value: Callable[[Turn], float]) -> float:
    """The median over the rounds."""
    return statistics.median(value(turn) for turn in turns)


def print_results(results: Results) -> None:
    """A table a kind, and the bars."""
    names = list(dict.fromkeys(name for name, _, _ in results))
    for kind in dict.fromkeys(kind for _, kind, _ in results):
        print(f"\n{kind}")
        print(f"{'':12}{'conn':>5}{'req/s':>9}{'loop/s':>9}{'ratio':>7}{'p50 ms':>9}{'p99 ms':>9}{'p99 ÷ fair':>12}")
        for name in names:
            for count in CONNECTIONS:
                if turns := results.get((name, kind, count)):
                    print(f"{name:12}{count:5}{_line(turns, kind, count, ours=name == OURS)}")
    _compare_with_peer(results)


def _line(turns: list[Turn], kind: str, count: int, *, ours: bool) -> str:
    rate, ratio = middle(turns, lambda turn: turn.load.per_second), middle(turns, lambda turn: turn.ratio)
    p50, p99 = middle(turns, lambda turn: turn.load.p50_ms), middle(turns, lambda turn: turn.load.p99_ms)
    tail = p99 / (1000 * count / rate) if rate else float("inf")
    limit, alone = middle(turns, lambda turn: turn.limit), middle(turns, lambda turn: turn.alone_ms)
    said = []
    if ours and (kind, count) in BARS:
        bar = BARS[kind, count]
        said.append(f"{'ok' if ratio >= bar else 'short'} (ratio ≥ {bar:g})")
        said.append(f"{'ok' if tail <= TAIL_BAR else 'short'} (p99 ≤ {TAIL_BAR:g} × fair)")
    if ours and count == 1:
        said.append(f"{'ok' if p50 <= alone + 2 else 'short'} (p50 − loop {p50 - alone:+.2f} ms, ≤ 2)")
    failures = "; ".join(turn.load.failures for turn in turns if turn.load.failures)
    numbers = f"{rate:9,.0f}{limit:9,.0f}{ratio:7.2f}{p50:9.1f}{p99:9.1f}{tail:12.2f}"
    return "  ".join([numbers, *said, *([f"failed: {failures}"] if failures else [])])


def _compare_with_peer(results: Results) -> None:
    peer, kind, count, bar = PEER_BAR
    if (OURS, kind, count) in results and (peer, kind, count) in results:
        rates = [[turn.load.per_second for turn in results[name, kind, count]] for name in (OURS, peer)]
        rounds = [ours / theirs for ours, theirs in zip(*rates, strict=True)]
        ratio = statistics.median(rounds)
        said = f"{ratio:.2f} × {peer}  {'ok' if ratio >= bar else 'short'} (≥ {bar:g} ×)"
        print(f"\n{kind}, {count} connections: {said}; rounds {', '.join(f'{one:.2f}' for one in rounds)}")


def main() -> None:
    """Rounds of turns, printed as they come, and the table."""
    parser = argparse.ArgumentParser(description="Requests a second of our service and of its peers.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--peers", default=",".join(PEERS), help="with commas; 'none' = ours alone")
    parser.add_argument("--precision", default="fp32", help="of the model file that everybody runs")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--connections", default=",".join(map(str, CONNECTIONS)))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    bundle = read_bundle(given.bundle)
    wanted = [name for name in given.peers.split(",") if name in PEERS]
    install(wanted)
    picture = bundle.metadata.input
    shape = (SENT, picture.height, picture.width, picture.channels)
    images, files = np.random.default_rng(0).integers(0, 256, shape, np.uint8), photographs(SENT)
    limit = Limit(bundle, bundle.model(given.precision), images, files)
    connections = [int(count) for count in given.connections.split(",")]
    results: Results = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        services: dict[str, Service] = {}
        for name in [OURS, *wanted]:
            bodies = bodies_of(name, given.kinds.split(","), images, files, Path(folder))
            url, process = running.enter_context(service(name, bundle, given.precision))
            services[name] = url, process, bodies
            with awake(process):
                for path, body in bodies.values():
                    run_load(url + path, body, connections=16, seconds=WARM_UP)
        for _ in range(given.rounds):
            for key, turns in measure(services, limit, connections=connections, seconds=given.seconds).items():
                results.setdefault(key, []).extend(turns)
    print_results(results)


if __name__ == "__main__":
    main()
