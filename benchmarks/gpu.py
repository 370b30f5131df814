"""All that only a GPU can show, in at most 8 minutes: `python benchmarks/gpu.py` on a machine with an NVIDIA GPU.

    python benchmarks/gpu.py                              # everything that this machine can; the order is by worth
    python benchmarks/gpu.py --parts input,resume         # some of it
    python benchmarks/gpu.py --dry                        # on the CPU, tiny sizes: does every part run?

Each part (a file of gpu_parts/) is a process of its own with a limit: a crash, a hang or a full memory costs that part
alone. Each row is printed and kept in <output>/gpu.json as soon as it is measured, so that a run that is cut short
keeps what it has. What a machine lacks is skipped with its reason. Exit status 0 = every part ran or says what is
missing, 1 = a part failed or was cut off, 2 = no GPU and no --dry.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from gpu_parts._parts import PARTS, Part
from gpu_parts._report import PartReport, RunReport, as_line, header, new_report, summary
from gpu_parts._rows import read_rows
from gpu_parts._running import GRACE, part_command, run_limited
from mlstack.utils.hardware import gpu_driver

BENCHMARKS = Path(__file__).resolve().parent
SECONDS = 465.0  # of the 8 minutes: what surrounds the parts takes the rest
DRY_PATIENCE = 2.0  # times as long may a part take where a CPU does it, which others may use too
LEAST = 10.0  # seconds: with less left a part is not begun, it would be ended while it imports
NO_GPU = "gpu.py needs an NVIDIA GPU, and nvidia-smi finds none; a dry run on the CPU: python benchmarks/gpu.py --dry"

Say = Callable[[str], None]


def main(argv: Sequence[str] | None = None, parts: Sequence[Part] = PARTS) -> int:
    """Read the command line, run the parts, and tell how it went."""
    given = arguments(parts).parse_args(argv)
    if not given.dry and gpu_driver() is None:
        print(NO_GPU, file=sys.stderr)
        return 2
    chosen = [part for part in parts if not given.parts or part.name in given.parts]
    given.output.mkdir(parents=True, exist_ok=True)
    lacking = missing(name for part in chosen for name in part.needs)
    report = new_report([PartReport(part.name, part.what) for part in chosen], lacking, dry=given.dry)
    prepare_environment(dry=given.dry)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return conduct(chosen, report, given.output.resolve(), seconds=given.seconds)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def arguments(parts: Sequence[Part]) -> argparse.ArgumentParser:
    """The command line."""
    names = [part.name for part in parts]

    def listed(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in chosen if name not in names]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is no part; there are {', '.join(names)}")
        return chosen

    parser = argparse.ArgumentParser(description="Measure what only a GPU can show.")
    parser.add_argument("--dry", action="store_true", help="on the CPU with tiny sizes: does every part run?")
    parser.add_argument("--parts", type=listed, default=[], help=f"some of {','.join(names)}; all by default")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/gpu"), help="folder of gpu.json, gpu.txt and gpu.log"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="limit of the whole run")
    return parser


def missing(modules: Iterable[str]) -> list[str]:
    """Which of them can't be imported here; none is imported."""
    return sorted({name for name in modules if find_spec(name) is None})


def prepare_environment(*, dry: bool) -> None:
    """What the parts find in their environment: the code beside this file to import, and no GPU in a dry run."""
    inherited = [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(BENCHMARKS), str(BENCHMARKS.parent / "src"), *inherited])
    os.environ["PYTHONUNBUFFERED"] = "1"
    if dry:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def conduct(parts: Sequence[Part], report: RunReport, output: Path, *, seconds: float) -> int:
    """Run the parts one after the other; whatever ends this, gpu.json holds what was found."""
    started, work = time.monotonic(), output / "work"
    shutil.rmtree(work, ignore_errors=True)
    (output / "gpu.log").unlink(missing_ok=True)
    with (output / "gpu.txt").open("w", encoding="utf-8") as table:

        def say(line: str) -> None:
            print(line, file=table, flush=True)
            try:
                print(line, flush=True)
            except BrokenPipeError:  # who read it has left (`| head`): the run goes on
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

        try:
            for line in header(report):
                say(line)
            for part, found in zip(parts, report.parts, strict=True):
                say(f"\n{part.name}: {part.what}")
                left = seconds - (time.monotonic() - started) - GRACE
                run_part(part, found, report, output, left=left, say=say)
                report.seconds = time.monotonic() - started
                report.write(output)
                say(summary(found))
            report.finished = True
        finally:
            report.seconds = time.monotonic() - started
            report.write(output)
            shutil.rmtree(work, ignore_errors=True)
        failed = [found.name for found in report.parts if found.status in ("failed", "cut off")]
        end = (
            f"not all of it ran: {', '.join(failed)}; gpu.log says why" if failed else "every part ran or says why not"
        )
        say(f"\n{end} ({report.seconds:.0f} s)\nwritten: {output / 'gpu.json'}, {output / 'gpu.txt'}")
    return 1 if failed else 0


def run_part(part: Part, found: PartReport, report: RunReport, output: Path, *, left: float, say: Say) -> None:
    """Run one part, or say why it is left out."""
    if lacking := missing(part.needs):
        found.status, found.reason = "skipped", f"needs {', '.join(lacking)}, not installed"
        return
    if left < LEAST:
        found.status, found.reason = "skipped", "the time of the whole run is used up"
        return
    work, limit = output / "work", min(part.seconds * (DRY_PATIENCE if report.dry else 1), left)
    work.mkdir(exist_ok=True)
    rows, log = work / f"{part.name}.rows", work / f"{part.name}.log"
    found.status = "running"

    def look() -> None:
        new = read_rows(rows)
        if len(new) > len(found.rows):
            for row in new[len(found.rows) :]:
                say(as_line(row))
            found.rows = new
            report.write(output)

    try:
        command = part_command(part.name, rows, work / part.name, dry=report.dry)
        ended = run_limited(command, log, seconds=limit, look=look, cwd=work)
        found.status, found.reason = verdict(found, ended.status, limit, log)
        found.seconds = ended.seconds
    except BaseException:
        found.status, found.reason = "interrupted", "the whole run was ended"
        raise
    finally:
        look()
        keep_log(log, output / "gpu.log", part.name)
        shutil.rmtree(work / part.name, ignore_errors=True)  # checkpoints


def keep_log(log: Path, whole: Path, name: str) -> None:
    """Add what a part said to the one log of the run."""
    if log.is_file():
        with whole.open("a", encoding="utf-8") as file:
            file.write(f"\n=== {name}\n{log.read_text(encoding='utf-8', errors='replace')}")


def verdict(found: PartReport, status: int | None, limit: float, log: Path) -> tuple[str, str]:
    """A part's status and the reason of it."""
    if status is None:
        return "cut off", f"it had not ended after {limit:.0f} s"
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return "failed", f"{how}: {lines[-1][:160] if lines else 'no output'}"
    states = {row.status for row in found.rows}
    if not states:
        return "failed", "it measured nothing"
    if states == {"skipped"}:
        return "skipped", "every row of it"
    return ("failed", "rows of it") if "failed" in states else ("ok", "")


def _terminated(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does: children are killed, and what was found is kept."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
