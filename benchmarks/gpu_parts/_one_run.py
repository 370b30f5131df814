"""One training in a process of its own, for parts that stop it or share it: `python -m gpu_parts._one_run REQUEST`.

REQUEST is a JSON file: settings, how many pictures there are, after which turn of the loop the process kills itself,
whether it goes on with the run that lies in its folder, and whether the ranks talk through gloo.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

KILLED = -signal.SIGKILL
LOOKED_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Request:
    """What is trained.

    Attributes:
        folder: Where its run folder lies, or will lie; it holds one run.
        words: Settings.
        pictures: Of 32 × 32 pixels, ten classes.
        kill_after: Turns of the loop after which the process sends itself SIGKILL; None = never.
        resume: Go on with the run in the folder.
        gloo: Join the other ranks through gloo: two of them can share a card, which NCCL refuses.
    """

    folder: str
    words: list[str]
    pictures: int
    kill_after: int | None = None
    resume: bool = False
    gloo: bool = False


def start(request: Request, **variables: str) -> subprocess.Popen[bytes]:
    """Start the training in this process group; its output goes to `<folder>/log`."""
    folder = Path(request.folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"request.{os.urandom(4).hex()}.json"
    file.write_text(json.dumps(asdict(request)), encoding="utf-8")
    with (folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "gpu_parts._one_run", str(file)]
        environment = {**os.environ, **variables}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def waited(processes: Mapping[str, subprocess.Popen[bytes]], folder: Path, expected: int = 0) -> None:
    """Wait for all of them. When one fails the others are killed: a rank would wait for it for half an hour.

    Args:
        processes: By the name of their folder; `#` and what follows tells two in one folder apart.
        folder: Of those folders.
        expected: The exit status.

    Raises:
        RuntimeError: One ended in another way; with the last line that it said.
    """
    while left := [name for name, process in processes.items() if process.poll() is None]:
        if any(process.poll() not in (None, expected) for process in processes.values()):
            for name in left:
                processes[name].kill()
        time.sleep(LOOKED_EVERY)
    failed = {name: process for name, process in processes.items() if process.returncode != expected}
    for name, process in sorted(failed.items(), key=lambda pair: pair[1].returncode == KILLED):  # the cause first
        log = folder / name.partition("#")[0] / "log"
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
        line = said[-1] if said else "no output"
        raise RuntimeError(f"training {name} ended with exit status {process.returncode}: {line}")


def run_in(folder: Path) -> Path:
    """The one run folder below a request's folder."""
    [run] = {path.parent for path in folder.glob("*/*/metrics.csv")}
    return run


def main() -> None:
    """Train as the request says."""
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    import torch

    from _workload import made_up_pictures
    from mlstack.config import Config
    from mlstack.config.compose import compose
    from mlstack.datasets.derived import complete
    from mlstack.engines.lightning.engine import LightningEngine
    from mlstack.runs import RunFolder, create_run

    if request.gloo:
        torch.distributed.init_process_group("gloo")
    dataset = made_up_pictures(request.pictures)
    config = complete(compose(Config, [*request.words, f"output_dir={request.folder}"]), dataset)
    engine = LightningEngine()
    engine.check(config)
    if request.resume:
        run = RunFolder(run_in(Path(request.folder)))
        config = replace(config, resume=str(run.path))
    elif os.environ.get("RANK", "0") == "0":
        run = create_run(config)
        engine.share(config, str(run.path))
    else:
        run = RunFolder(Path(engine.share(config, None)))
    with _killed_after(request.kill_after):
        result = engine.fit(config, dataset, run)
    if result.is_main:
        (Path(request.folder) / "result.json").write_text(json.dumps(asdict(result)), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _killed_after(turns: int | None) -> Iterator[None]:
    from mlstack.engines.lightning import progress

    original, seen = progress.Speed.on_train_batch_end, 0

    def turn(self: Any, *arguments: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == turns:
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, *arguments)

    progress.Speed.on_train_batch_end = turn  # type: ignore[method-assign]
    yield


def checkpoint(folder: Path) -> dict[str, Any]:
    """The last checkpoint of the one run below a request's folder."""
    import torch

    path = run_in(folder) / "checkpoints" / "last.ckpt"
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def differences(one: Any, other: Any, where: Sequence[str] = ()) -> Iterator[tuple[str, float]]:
    """Each tensor or number that is not the same bit for bit: where, and by how much, relative to its largest value."""
    if isinstance(one, dict):
        for key in sorted(one.keys() | other.keys(), key=str):
            yield from differences(one.get(key), other.get(key), [*where, str(key)])
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, [*where, str(place)])
    elif hasattr(one, "shape") and hasattr(other, "shape"):
        if not (one.dtype == other.dtype and one.equal(other)):
            largest = float(one.double().abs().max()) or 1.0
            yield "/".join(where), float((one.double() - other.double()).abs().max()) / largest
    elif one != other:
        yield "/".join(where), float("nan")


if __name__ == "__main__":
    main()
