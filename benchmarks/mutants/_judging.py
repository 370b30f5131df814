"""What the tests of a room say to a mutant: first those that run the changed line, then the others of the room."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import coverage
import pytest
from _copies import exchanged
from _drawing import Mutant
from _forking import forked
from _selection import Chosen, Noted

SLACK = 60.0  # seconds that a test may take on top, on a machine that others keep busy
FACTOR = 5.0  # of the seconds that the slowest test takes without a mutant
BASELINE = 3600.0  # seconds for a room's tests without a mutant, with coverage
# Of a process that a test starts, pytest's own variable says which test it was.
SUBPROCESS = """
[run]
parallel = true
sigterm = true
source = {source}
data_file = {file}
context = ${{PYTEST_CURRENT_TEST-}}
"""

Lines = dict[Path, dict[int, set[str]]]


@dataclass(frozen=True)
class Room:
    """A room's tests as they pass without a mutant: seconds of each, and which of them run which line.

    Attributes:
        longest: Seconds of the slowest one, left out or not: it may have made what several share.
    """

    paths: tuple[str, ...]
    seconds: dict[str, float]
    longest: float
    left_out: tuple[str, ...]
    lines: Lines = field(repr=False)

    def ranked(self, chosen: Iterable[str]) -> dict[str, int]:
        """Test → place: the quick files first, in them the quick tests."""
        files: dict[str, float] = defaultdict(float)
        names = list(chosen)
        for name in names:
            files[name.partition("::")[0]] += self.seconds[name]
        ordered = sorted(
            names, key=lambda name: (files[name.partition("::")[0]], name.partition("::")[0], self.seconds[name])
        )
        return {name: place for place, name in enumerate(ordered)}


@dataclass(frozen=True)
class Judgement:
    """How it went: `by` says what noticed the mutant; empty where nothing did."""

    by: str
    tests: int


class Judge:
    """Runs tests in a copy of the repository, each time in a fork of this process, which has imported none of it."""

    def __init__(self, copy: Path, work: Path, extra: list[str], slowest: float, rest: float) -> None:
        self.copy, self.work, self.extra, self.slowest, self.rest = copy, work, extra, slowest, rest
        work.mkdir(parents=True, exist_ok=True)

    def room(self, paths: tuple[str, ...]) -> Room:
        """Run all tests of a room as they are."""
        notes, data = self.work / "notes.pickle", self.work / "coverage"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        source = self.copy / "src" / "mlstack"
        settings = data / "subprocess.ini"
        settings.write_text(SUBPROCESS.format(source=source, file=data / "of"))

        def measured() -> int:
            os.environ["COVERAGE_PROCESS_START"] = str(settings)
            measure = coverage.Coverage(data_file=str(data / "of.main"), source=[str(source)], config_file=False)
            noted = Noted(measure)
            measure.start()
            status = self.pytest(list(paths), [noted])
            measure.stop()
            measure.save()
            notes.write_bytes(pickle.dumps((dict(noted.seconds), noted.failed)))
            return status

        status = forked(measured, self.work / "clean.txt", BASELINE)
        if status not in (0, 1):
            said = (self.work / "clean.txt").read_text(errors="replace")
            raise SystemExit(f"{said[-2000:]}\nthe tests of {', '.join(paths)} do not run (status {status})")
        seconds, failed = pickle.loads(notes.read_bytes())
        left_out = {name for name, took in seconds.items() if took > self.slowest} | failed
        passed = {name: took for name, took in seconds.items() if name not in left_out}
        return Room(paths, passed, max(seconds.values()), tuple(sorted(left_out)), self.covered(data))

    def covered(self, data: Path) -> Lines:
        """File → line → the tests that run it; all tests of a file where a fixture runs it."""
        lines: Lines = defaultdict(lambda: defaultdict(set))
        for file in data.glob("of.*"):
            measured = coverage.CoverageData(str(file))
            measured.read()
            for path in measured.measured_files():
                for line, contexts in measured.contexts_by_lineno(path).items():
                    lines[Path(path).relative_to(self.copy)][line] |= {name for name in contexts if name}
        return lines

    def judge(self, mutant: Mutant, room: Room) -> Judgement:
        """First the tests that run the changed statement, then others, for a while."""
        first = running(mutant, room, (self.copy / mutant.path).read_text(encoding="utf-8"))
        with exchanged(self.copy / mutant.path, mutant.code):
            by, tests = self.noticed(first, room) if first else "", len(first)
            others = self.quickest(set(room.seconds) - first, room)
            if not by and others:
                by, tests = self.noticed(others, room), tests + len(others)
        return Judgement(by, tests)

    def quickest(self, tests: set[str], room: Room) -> set[str]:
        """As many of the tests as fit into the time that others get, the quick ones first."""
        total, chosen = 0.0, set()
        for name in sorted(tests, key=lambda name: room.seconds[name]):
            total += room.seconds[name]
            if total > self.rest:
                break
            chosen.add(name)
        return chosen

    def noticed(self, tests: set[str], room: Room) -> str:
        """What has ended the tests: the first that failed, a time limit, an exit status."""
        output, ranked = self.work / "mutant.txt", room.ranked(tests)
        chosen = Chosen(ranked, SLACK + FACTOR * room.longest)
        limit = SLACK + 2 * FACTOR * sum(room.seconds[name] for name in tests)
        files = list(dict.fromkeys(name.partition("::")[0] for name in ranked))
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        status = forked(self.call(files, chosen), output, limit)
        if status in (None, -signal.SIGALRM):
            return "a time limit"
        ends = [
            line for line in output.read_text(errors="replace").splitlines() if line.startswith(("FAILED ", "ERROR "))
        ]
        return "" if status == 0 else ends[0].partition(" - ")[0] if ends else f"status {status}"

    def call(self, files: list[str], plugin: object) -> Callable[[], int]:
        def chosen() -> int:
            sys.dont_write_bytecode = True
            return self.pytest(["-x", *files], [plugin])

        return chosen

    def pytest(self, arguments: list[str], plugins: list[object]) -> int:
        """pytest in the copy, which is found before an installed package."""
        os.chdir(self.copy)
        source = str(self.copy / "src")
        sys.path.insert(0, source)
        sys.argv = ["pytest"]
        temporary = self.work / "temporary"
        shutil.rmtree(temporary, ignore_errors=True)
        os.environ |= {"PYTHONPATH": source, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        fixed = ["-q", "-rfE", "--tb=line", "-p", "no:cacheprovider", f"--basetemp={temporary}"]
        return int(pytest.main([*fixed, *self.extra, *arguments], plugins=plugins))


def running(mutant: Mutant, room: Room, source: str) -> set[str]:
    """The tests that run the changed statement: all that run the file where that happens on import."""
    lines = room.lines.get(mutant.path, {})
    statement = range(*extent(mutant.line, source))
    wanted: Iterable[int] = statement if in_a_function(mutant.line, source) else lines
    names: set[str] = set()
    for name in {name for line in wanted for name in lines.get(line, ())}:
        test, _, phase = name.rpartition(" (")
        if phase == "setup)":  # of a fixture, which other tests of the file may share
            file = test.partition("::")[0]
            names |= {each for each in room.seconds if each.startswith(f"{file}::")}
        names.add(test)
    return names & set(room.seconds)


def extent(line: int, source: str) -> tuple[int, int]:
    """First line and line after the last of the innermost statement; of one with a body its head alone."""
    begin, end = line, line + 1
    for node in ast.walk(ast.parse(source)):  # outer statements come first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            last = max(body[0].lineno, node.lineno + 1) if body else (node.end_lineno or 0) + 1
            if line < last:
                begin, end = node.lineno, last
    return begin, end


def in_a_function(line: int, source: str) -> bool:
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(node.body[0].lineno <= line <= (node.end_lineno or 0) for node in functions)
