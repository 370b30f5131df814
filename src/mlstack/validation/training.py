"""Train in a process of its own, as a user would start it, and look at what it and the GPU do meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstack.errors import MLStackError, TrainingError
from mlstack.runs import RunFolder, write_text
from mlstack.validation.marked_training import read_spans
from mlstack.validation.nvml import Gpu
from mlstack.validation.sampling import Sample, Sampler, Span

ROOT = Path(__file__).parents[3]
TRAIN_SCRIPT = ROOT / "scripts" / "train.py"
USER_MISTAKE = 2  # exit status of a command that said in one message what is wrong


@dataclass(frozen=True)
class Trained:
    """A training that ended well.

    Attributes:
        run: Its folder.
        results: Of its results.json.
        seconds: Wall time of the whole process, imports and final evaluation included.
        samples: Looks at the process and the GPU, from its beginning to its end.
        spans: The parts of that time in which it trained.
    """

    run: RunFolder
    results: dict[str, Any]
    seconds: float
    samples: tuple[Sample, ...]
    spans: tuple[Span, ...]

    @property
    def steady(self) -> tuple[Span, ...]:
        """The spans without the first one, in which a GPU's kernels are chosen, where there are others."""
        return self.spans[1:] or self.spans


def train_watched(
    words: Sequence[str],
    folder: Path,
    *,
    name: str,
    timeout: float,
    gpu: Gpu | None = None,
    script: Path = TRAIN_SCRIPT,
) -> Trained:
    """Run scripts/train.py with `words`; its output goes to `<folder>/<name>.log`, its run below `<folder>/<name>`.

    Args:
        words: Settings, as they are typed.
        folder: Where all of it is written.
        name: Of this training.
        timeout: Seconds after which it is ended.
        gpu: The GPU to look at.
        script: What is run.

    Raises:
        MLStackError: The message with which the script refused to train, word for word.
        TrainingError: It failed in another way, or took too long.
    """
    marks, output = folder / f"{name}.marks", folder / name
    marks.unlink(missing_ok=True)
    known = set(output.glob("*/*/results.json"))
    settings = [*words, f"output_dir={output}", "trainer.progress_bar=false"]
    command = [sys.executable, "-m", "mlstack.validation.marked_training", str(marks), str(script), *settings]
    start = time.monotonic()
    log = folder / f"{name}.log"
    with subprocess.Popen(
        command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            with Sampler(process.pid, gpu) as sampler:
                said, complaint = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise TrainingError(f"training {name} has not ended within {timeout:.0f} s and was stopped") from error
        finally:
            process.kill()  # also when the user interrupts; nothing happens where it has ended
    seconds = time.monotonic() - start
    write_text(log, said + complaint)
    if process.returncode:
        raise failure(name, process.returncode, complaint, log)
    run = newest(output, known, name, log)
    spans = read_spans(marks)
    marks.unlink(missing_ok=True)
    return Trained(run, run.read_results(), seconds, tuple(sampler.samples), spans)


def newest(output: Path, known: set[Path], name: str, log: Path) -> RunFolder:
    """The run below `output` whose results.json is not among the `known` ones.

    Raises:
        TrainingError: There is none.
    """
    written = sorted(set(output.glob("*/*/results.json")) - known)
    if not written:
        raise TrainingError(f"training {name} ended well, but wrote no results.json", hint=f"its output: {log}")
    return RunFolder(written[-1].parent)


def failure(name: str, status: int, stderr: str, log: Path) -> MLStackError:
    """What to raise for a training that failed: its own message, or where its output lies."""
    first, _, rest = stderr.strip().partition("\n")
    if status == USER_MISTAKE and first.startswith("error: "):
        return MLStackError(first.removeprefix("error: "), hint=rest)
    return TrainingError(f"training {name} failed: {reason_of(stderr, status)}", hint=f"its output: {log}")


def reason_of(stderr: str, status: int) -> str:
    """The line that tells most: a message's first one, a traceback's last one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return f"exit status {status}, no message"
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
