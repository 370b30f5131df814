"""Mutants that the tests do not notice: `python benchmarks/mutants/survivors.py metrics --number 40 --seed 0`.

Changes one comparison, operator, condition or number at a time in a copy of the repository, at random places of one or
several rooms of src/mlstack (a folder or a file), and runs the tests of that room, first those that run the changed
line. Prints each mutant that no test noticed as file:line with both lines; a time limit counts as noticed. A mutant
takes seconds, and before them the room's tests run once with coverage: metrics with 40 mutants takes 1 minute.

What stands in equivalent.toml makes no difference that a test could see, each with its reason, and is not counted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the first import of NumPy

from _copies import copy
from _drawing import Mutant, draw
from _judging import Judge

ROOT = Path(__file__).parents[2]
SOURCE = Path("src/mlstack")
# Besides the folder of the same name; a file's tests are test_<name>.py. Some rooms have files for one command alone,
# which are tested through it.
MORE_TESTS = {
    "commands": ("tests/end_to_end",),
    "config": ("tests/documents/test_configuration.py",),  # compares the document of all keys with the schema
    "export": ("tests/commands/test_optimize_for_edge.py", "tests/commands/test_benchmark.py"),
    "validation": ("tests/commands/test_compare_performance.py", "tests/commands/test_check_env.py"),
}
FRAMEWORKS = ("torch", "torchvision", "pytorch_lightning", "paddle")
WITH_A_FRAMEWORK = {"engines", "models"}
# Imported once, before the first fork; what is missing is left out.
PRELOADED = (
    "numpy",
    "PIL.Image",
    "onnx",
    "onnxruntime",
    "hydra",
    "omegaconf",
    "matplotlib.pyplot",
    "scipy.stats",
    "jsonschema",
)
Named = dict[tuple[str, str, str], str]


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does, it leaves no copy behind
    named = equivalents()
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        work = Path(temporary)
        os.environ["TMPDIR"] = tempfile.tempdir = str(work)
        copy(ROOT, work / "copy")
        drawn = drawing(work / "copy", arguments, named)
        preload(PRELOADED)
        judge = Judge(work / "copy", work / "work", arguments.pytest, arguments.slowest, arguments.rest)
        counts = {}
        for room in dict.fromkeys(room_of(name) for name in arguments.rooms if room_of(name) in drawn):
            if room in WITH_A_FRAMEWORK:
                preload(FRAMEWORKS)
            counts[room] = judged(judge, room, drawn[room])
    table(counts, arguments.seed)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rooms", nargs="+", help="folders or files of src/mlstack: metrics runs.py serving/keys.py")
    parser.add_argument("--number", type=int, default=40, help="mutants to draw over all rooms together (40)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--without", nargs="*", default=[], help="folders or files to leave out")
    parser.add_argument(
        "--slowest", type=float, default=20.0, help="tests that take longer (s) without a mutant are left out (20)"
    )
    parser.add_argument(
        "--rest", type=float, default=60.0, help="run also the room's other tests if they take at most this (60 s)"
    )
    parser.add_argument("--pytest", nargs=argparse.REMAINDER, default=[], help="the rest of the line goes to pytest")
    return parser.parse_args()


def equivalents() -> Named:
    """(file, line, changed line) → why nobody can tell them apart; complains about lines that are there no more."""
    table = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))
    named = {}
    for file, entries in table.items():
        lines = {line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()}
        for entry in entries:
            if entry["before"] not in lines:
                print(f"equivalent.toml: {file} has no line {entry['before']!r} any more", file=sys.stderr)
            for after in entry["after"]:
                named[file, entry["before"], after] = entry["reason"]
    return named


def drawing(root: Path, arguments: argparse.Namespace, named: Named) -> dict[str, list[Mutant]]:
    """Room → mutants; equivalent ones are passed over."""
    files = [path.relative_to(root) for room in arguments.rooms for path in files_of(root, room)]
    left_out = {path.relative_to(root) for room in arguments.without for path in files_of(root, room)}
    drawn: dict[str, list[Mutant]] = defaultdict(list)
    count = 0
    for mutant in draw(root, set(files) - left_out, arguments.seed):
        if (str(mutant.path), mutant.before, mutant.after) not in named:
            drawn[room_of(mutant.path.relative_to(SOURCE))].append(mutant)
            count += 1
        if count == arguments.number:
            break
    return drawn


def room_of(name: str | Path) -> str:
    """`serving/keys.py` → serving; `runs.py` → runs."""
    return Path(name).parts[0].removesuffix(".py")


def files_of(root: Path, room: str) -> list[Path]:
    path = root / SOURCE / room
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def tests_of(root: Path, room: str) -> tuple[str, ...]:
    own = (f"tests/{room}", f"tests/test_{room}.py", *MORE_TESTS.get(room, ()))
    return tuple(path for path in own if (root / path).exists())


def preload(modules: tuple[str, ...]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            print(f"{module} is not installed", file=sys.stderr)


def judged(judge: Judge, name: str, mutants: list[Mutant]) -> tuple[int, int]:
    """Noticed and drawn; prints the survivors."""
    start = time.monotonic()
    room = judge.room(tests_of(judge.copy, name))
    print(
        f"== {name}: {len(room.seconds)} tests, {time.monotonic() - start:.0f} s with coverage",
        file=sys.stderr,
        flush=True,
    )
    for test in room.left_out:
        print(f"   left out: {test}", file=sys.stderr)
    noticed = 0
    for number, mutant in enumerate(mutants, 1):
        start = time.monotonic()
        result = judge.judge(mutant, room)
        noticed += bool(result.by)
        took = f"[{number}/{len(mutants)}] {time.monotonic() - start:.1f} s"
        print(f"   {took} {mutant.path}:{mutant.line} {result.by or 'SURVIVED'}", file=sys.stderr, flush=True)
        if not result.by:
            seen = f"passed {result.tests} tests" if result.tests else "no test of the room runs it"
            print(f"{mutant.path}:{mutant.line} ({seen})\n- {mutant.before}\n+ {mutant.after}\n", flush=True)
    return noticed, len(mutants)


def table(counts: dict[str, tuple[int, int]], seed: int) -> None:
    total = tuple(sum(column) for column in zip(*counts.values(), strict=True))
    print(f"{'room':<14} noticed / drawn, seed {seed}")
    for room, (noticed, drawn) in [*counts.items(), ("together", total)]:
        print(f"{room:<14} {noticed:>4} / {drawn:<4} {noticed / drawn:.0%}")


if __name__ == "__main__":
    main()
