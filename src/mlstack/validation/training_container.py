"""Train in a container as it would be deployed: little memory, a read-only root, no privileges; and watch it do so."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstack.config.validation import DockerStageConfig
from mlstack.errors import OutputError, RunError
from mlstack.runs import RunFolder
from mlstack.validation.container import ContainerProgram
from mlstack.validation.container_samples import ContainerSampler, Sample

# What a container of ours may not do, whatever it is for.
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@dataclass(frozen=True)
class ContainerTraining:
    """How a training in a container went.

    Attributes:
        status: Its exit status.
        out_of_memory: Whether the engine killed it for that.
        seconds: From `docker run` to its end, imports included.
        samples: Its use of processor and memory.
        results: Its results.json; empty where it did not get that far.
        checkpoints: Names of the checkpoints that it wrote.
        log: What it said.
    """

    status: int
    out_of_memory: bool
    seconds: float
    samples: Sequence[Sample]
    results: dict[str, Any]
    checkpoints: Sequence[str]
    log: Path

    @property
    def outcome(self) -> str:
        """`finished`, or why not."""
        if self.out_of_memory:
            return "killed: it asked for more memory than it was granted"
        return "finished" if self.status == 0 else f"exit status {self.status}"

    @property
    def epoch_seconds(self) -> float | None:
        if not self.results.get("epochs"):
            return None
        return float(self.results["train_seconds"]) / int(self.results["epochs"])


def train_in_container(
    program: ContainerProgram, settings: DockerStageConfig, words: Sequence[str], *, name: str, folder: Path,
    data: Path | None = None,
) -> ContainerTraining:  # fmt: skip
    """Run scripts/train.py in the train image to its end and fetch what it wrote.

    Args:
        program: Reaches the engine.
        settings: Image, memory, cores.
        words: What the training is told, such as `data=digits`.
        name: Of the container, which is removed at the end, come what may.
        folder: Made anew; gets train.log and the run folder.
        data: Folder with downloaded data, mounted read-only; None = nothing is mounted.

    Raises:
        ContainerError: The engine fails.
        OutputError: The folder can't be made.
    """
    make_anew(folder)
    limits = ["--memory", settings.memory, "--memory-swap", settings.memory]  # the same: nothing is swapped out
    if settings.cpus is not None:
        limits += ["--cpus", f"{settings.cpus:g}"]
    mounted = ["--volume", f"{data.resolve()}:/app/data:ro"] if data is not None and data.is_dir() else []
    log = folder / "train.log"
    start = time.monotonic()
    try:
        program.run("run", "--detach", "--name", name, *limits, *HARDENED, *mounted, settings.train_image, *words)
        with ContainerSampler(program, name) as sampler:
            status = follow(program, name, log)
        seconds = time.monotonic() - start
        killed = program.run("inspect", "--format", "{{.State.OOMKilled}}", name).strip() == "true"
        program.run("cp", f"{name}:/app/outputs/.", str(folder), timeout_s=None)
    finally:
        program.remove(name)
    results, checkpoints = read_run(folder)
    return ContainerTraining(status, killed, seconds, sampler.samples, results, checkpoints, log)


def make_anew(folder: Path) -> None:
    """An empty folder.

    Raises:
        OutputError: It can't be made.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} can't be made: {error.strerror or error}", hint="another output_dir=…") from error


def follow(program: ContainerProgram, name: str, log: Path) -> int:
    """Write what a container says to `log` until it ends; its exit status."""
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(
            [program.path, "logs", "--follow", name],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    return int(program.run("wait", name))


def read_run(runs: Path) -> tuple[dict[str, Any], list[str]]:
    """results.json and names of the checkpoints of the newest run below a folder; empty without one."""
    found = sorted(runs.glob("*/*/config.yaml"))
    if not found:
        return {}, []
    run = RunFolder(found[-1].parent)
    names = sorted(path.name for path in run.checkpoints.glob("[!.]*.ckpt") if path.stat().st_size > 0)
    try:
        return run.read_results(), names
    except RunError:
        return {}, names
