"""Serve a bundle from the serve image as it would be deployed, ask it for pictures, and measure it meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstack.config.validation import DockerStageConfig
from mlstack.errors import ContainerError
from mlstack.validation.container import ContainerProgram, last_line
from mlstack.validation.container_samples import ContainerSampler, peak_memory
from mlstack.validation.training_container import HARDENED

PATIENCE_S = 60.0  # to the first answer; a limit that is asked for lies far below
POLL_S = 0.02
STARTS = 3
READINGS = 3  # of memory, about one a second, before the service is stopped
READING_S = 15.0
ALL_CLASSES = 999_999  # the most that the service takes
REFUSED = (OSError, http.client.HTTPException)  # nobody listens yet: the engine's proxy accepts and hangs up


@dataclass(frozen=True)
class ContainerService:
    """How a service in a container did.

    Attributes:
        starts_seconds: Of each start, from `docker run` to the first answer for a picture.
        latencies_ms: Of one picture after the other, from the request's first byte to the answer's last.
        model_ms: The model's share of each, as the service tells.
        memory_mb: The most that was read while it answered, in MiB.
        predictions: For each picture's name, class and probabilities.
    """

    starts_seconds: Sequence[float]
    latencies_ms: Sequence[float]
    model_ms: Sequence[float]
    memory_mb: float | None
    predictions: Mapping[str, dict[str, Any]]

    @property
    def start_seconds(self) -> float:
        """The shortest: what else runs on the machine makes a start longer, and nothing makes it shorter."""
        return min(self.starts_seconds)

    @property
    def latency_ms(self) -> float:
        """The median."""
        return statistics.median(self.latencies_ms)


def serve_in_container(
    program: ContainerProgram, settings: DockerStageConfig, *, name: str, bundle: Path, pictures: Sequence[Path],
    requests: int,
) -> ContainerService:  # fmt: skip
    """Start the serve image with a bundle a few times, then ask for every picture, and for more to make `requests`.

    Args:
        program: Reaches the engine.
        settings: Image.
        name: Of the containers, which are removed at the end, come what may.
        bundle: Folder, mounted read-only.
        pictures: PNG files, at least one.
        requests: Requests in all, at least one for each picture.

    Raises:
        ContainerError: It does not start, or refuses a picture; with its last words.
    """
    bodies = [path.read_bytes() for path in pictures]
    starts = []
    for _ in range(STARTS):
        with started(program, settings, name, bundle, bodies[0]) as (port, seconds):
            starts.append(seconds)
            if len(starts) < STARTS:
                continue
            with ContainerSampler(program, name) as sampler:
                answers, latencies = ask_for(port, bodies, requests=max(requests, len(bodies)))
                wait_for_readings(sampler)
    predictions = {path.name: as_prediction(answer) for path, answer in zip(pictures, answers, strict=False)}
    model_ms = [float(answer["timing_ms"]["model"]) for answer in answers]
    return ContainerService(starts, latencies, model_ms, peak_memory(sampler.samples), predictions)


@contextlib.contextmanager
def started(
    program: ContainerProgram, settings: DockerStageConfig, name: str, bundle: Path, picture: bytes
) -> Iterator[tuple[int, float]]:
    """A service that has answered once: its port, and seconds from `docker run` to that answer."""
    start = time.monotonic()
    try:
        program.run(
            "run", "--detach", "--name", name, "--publish", "127.0.0.1::8000", *HARDENED,
            "--volume", f"{bundle.resolve()}:/bundle:ro",
            settings.serve_image, "serve.allow_anonymous=true", "serve.precision=fp32",
        )  # fmt: skip
        port = published_port(program, name)
        wait_for_answer(program, name, port, picture)
        yield port, time.monotonic() - start
    finally:
        program.remove(name)


def wait_for_readings(sampler: ContainerSampler) -> None:
    """Keep the service until its memory was read a few times; engines that tell nothing are not waited for long."""
    until = time.monotonic() + READING_S
    while len(sampler.samples) < READINGS and time.monotonic() < until:
        time.sleep(POLL_S)


def published_port(program: ContainerProgram, name: str) -> int:
    """The port of this machine that leads to the service's.

    Raises:
        ContainerError: There is none: the service has ended already.
    """
    try:
        return int(program.run("port", name, "8000/tcp").split(":")[-1])
    except (ContainerError, ValueError):
        raise ContainerError(f"the service ended at once: {last_line(program.logs(name))}") from None


def wait_for_answer(program: ContainerProgram, name: str, port: int, picture: bytes) -> None:
    """Ask until the service answers.

    Raises:
        ContainerError: It has ended, or does not answer within `PATIENCE_S`.
    """
    began = looked_at = time.monotonic()
    reason = ""
    while time.monotonic() - began < PATIENCE_S:
        try:
            ask(port, picture)
        except REFUSED:
            pass
        except ContainerError as error:  # such as 503, while the model is loaded
            reason = error.message
        else:
            return
        if time.monotonic() - looked_at > 1:
            looked_at = time.monotonic()
            if program.run("inspect", "--format", "{{.State.Running}}", name).strip() != "true":
                break
        time.sleep(POLL_S)
    raise ContainerError(f"the service gave no answer: {reason or last_line(program.logs(name))}")


def ask_for(port: int, bodies: Sequence[bytes], *, requests: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Ask for pictures one after the other, in turn, over one connection; the answers, and milliseconds of each."""
    answers, latencies = [], []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        for number in range(requests):
            began = time.perf_counter()
            answers.append(ask(port, bodies[number % len(bodies)], connection))
            latencies.append((time.perf_counter() - began) * 1000)
    return answers, latencies


def ask(port: int, picture: bytes, connection: http.client.HTTPConnection | None = None) -> dict[str, Any]:
    """The service's answer for one PNG.

    Raises:
        ContainerError: It refused.
        OSError: Nobody listens.
    """
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        own.request("POST", f"/predict?top_k={ALL_CLASSES}", picture, {"content-type": "image/png"})
        response = own.getresponse()
        body = response.read()
    finally:
        if connection is None:
            own.close()
    if response.status != 200:
        raise ContainerError(f"the service answers {response.status}: {body.decode(errors='replace')[:300]}")
    answer: dict[str, Any] = json.loads(body)
    return answer


def as_prediction(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Class and probabilities of an answer for one picture; of another task than classification, all that it says."""
    prediction: dict[str, Any] = dict(answer["predictions"][0])
    if "class" not in prediction:
        return prediction
    return {"class": prediction["class"], "probabilities": prediction["probabilities"]}
