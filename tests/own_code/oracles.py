"""Environments for the oracles and peers of requirements-oracles.txt, one for each of its sections.

    python tests/own_code/oracles.py                # make all of them: some minutes, 1.6 GB
    python tests/own_code/oracles.py schemathesis   # or those that are named

Whoever compares with one calls `prepare` (a program) or `environment` (a test), which makes it at first use, and anew
when its pins, or Python, have changed. All checkouts share them: they lie in ~/.cache/mlstack-oracles, or where the
variable ORACLES_FOLDER says. A folder may be deleted at any time.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlstack.errors import MLStackError

REQUIREMENTS = Path(__file__).parents[2] / "requirements-oracles.txt"
HEADING = re.compile(r"# environment: (\S+)(.*)")
MARK = "made_from.sha256"
PIP = ("install", "--no-input", "--disable-pip-version-check", "--quiet", "--retries", "1")


class OracleError(MLStackError):
    """An environment that is not known, or can't be made."""


@dataclass(frozen=True)
class Section:
    """What an environment holds.

    Attributes:
        options: Words for pip, such as --no-deps.
        pins: Its packages, as pip's requirements.
    """

    options: tuple[str, ...]
    pins: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What changes when the environment has to be made anew; a reason beside a pin does not count."""
        return hashlib.sha256("\n".join([sys.version, *self.options, *self.pins]).encode()).hexdigest()


def sections(path: Path = REQUIREMENTS) -> dict[str, Section]:
    """The file's environments by name, in its order."""
    options: dict[str, tuple[str, ...]] = {}
    pins: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := HEADING.fullmatch(line):
            name = heading[1]
            options[name], pins[name] = tuple(heading[2].split()), []
        elif pin := line.partition("#")[0].strip():
            pins[name].append(pin)
    return {name: Section(options[name], tuple(pins[name])) for name in pins}


def folder_of_environments() -> Path:
    """Where they lie, absolute: programs name their interpreter by its whole path."""
    return Path(os.environ.get("ORACLES_FOLDER") or Path.home() / ".cache" / "mlstack-oracles").absolute()


def environment(name: str, *, requirements: Path = REQUIREMENTS) -> Path:
    """The folder of an environment, with its programs in `bin/`. It is made where it is missing or of other pins.

    Raises:
        OracleError: There is none of this name, pip can't get its packages, or the folder can't be written.
    """
    known = sections(requirements)
    if name not in known:
        raise OracleError(f"{requirements.name} has no environment {name}", allowed=tuple(known))
    home = folder_of_environments() / name
    try:
        with _locked(home) as lock:
            if not _is_whole(home, known[name]):
                _make(home, known[name], lock)
    except OSError as error:
        hint = "choose another place: ORACLES_FOLDER=…"
        raise OracleError(f"{home} can't be written: {error.strerror or error}", hint=hint) from error
    return home


def prepare(*names: str) -> list[Path]:
    """The environments for a program, which ends with one message and status 2 where one of them can't be made."""
    try:
        return [environment(name) for name in names]
    except OracleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def _locked(home: Path) -> Iterator[int]:
    """Keep other processes out: whoever comes second waits, and then finds it made."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f".{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _is_whole(home: Path, section: Section) -> bool:
    mark = home / MARK
    # The link to the interpreter leads nowhere once that is gone.
    return mark.is_file() and mark.read_text() == section.digest and (home / "bin" / "python").exists()


def _make(home: Path, section: Section, lock: int) -> None:
    """Make it where it will stay, since programs name their interpreter; the mark goes first and comes last."""
    print(f"environment {home}: {', '.join(section.pins)}; this is done once …", file=sys.stderr, flush=True)
    (home / MARK).unlink(missing_ok=True)
    venv.create(home, clear=True, symlinks=True)
    if section.pins:
        _install(home, section, lock)
    (home / MARK).write_text(section.digest)


def _install(home: Path, section: Section, lock: int) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), *PIP]
    # What lies in PYTHONPATH would count as installed.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # pip holds the lock too: where only this process is killed, it installs on for a while.
    answer = subprocess.run(
        [*command, *section.options, *section.pins], env=own, pass_fds=[lock], capture_output=True, text=True
    )
    if answer.returncode:
        from mlstack.export.targets.environment import pips_reason  # imports ONNX, a second

        raise OracleError(
            f"the packages of the environment {home.name} can't be installed: {pips_reason(answer.stderr)}",
            hint="pip needs a network, or an index that has them: PIP_INDEX_URL=…, PIP_FIND_LINKS=…",
        )


def megabytes(folder: Path) -> float:
    """What a folder weighs on the disk."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def main(names: Sequence[str]) -> None:
    """Make those that are named, or all, and print what each weighs."""
    for name in names or sections():
        [home] = prepare(name)
        print(f"{megabytes(home):6.0f} MB  {home}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the environments of requirements-oracles.txt.")
    parser.add_argument("names", nargs="*", help=", ".join(sections()))
    main(parser.parse_args().names)
