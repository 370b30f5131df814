"""An environment of its own for packages that would conflict with those that are installed.

It is a virtual environment whose packages come first and the main environment's after them, so that torch is not
installed again: a `.pth` file names the main environment's folder. Pins are complete, and pip resolves nothing.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from mlstack.bundle.replacing import replacing
from mlstack.errors import ExportError
from mlstack.utils.console import say

FOLDER = Path(__file__).parents[4] / ".environments"
STAMP = "made_from.txt"
PIP = ("install", "--no-deps", "--no-input", "--disable-pip-version-check", "--quiet", "--retries", "1")


def environment(name: str, pins: Sequence[str], *, megabytes: int, folder: Path = FOLDER) -> Path:
    """The Python of an environment, which is made where it is missing or of other pins: whole, or not at all.

    Args:
        name: Of the environment's folder.
        pins: Everything that the main environment lacks, as pip's requirements.
        megabytes: What it takes on the disk, to be told before it is fetched.
        folder: Where environments lie.

    Raises:
        ExportError: pip can't get the packages; the line has pip's reason.
        OutputError: The folder can't be written.
    """
    home = folder / name
    stamp = "\n".join([sys.version, sysconfig.get_path("purelib"), *pins])
    if not (home / STAMP).is_file() or (home / STAMP).read_text(encoding="utf-8") != stamp:
        say(f"environment {home}: {len(pins)} packages, about {megabytes:,} MB on the disk; this is done once …")
        with replacing(home) as staging:
            _make(staging, pins, name)
            (staging / STAMP).write_text(stamp, encoding="utf-8")
    return _python(home)


def _make(home: Path, pins: Sequence[str], name: str) -> None:
    venv.create(home, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home)}))
    # After the environment's own: site adds what .pth files name behind the folder that they lie in.
    (packages / "main_environment.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    command = [str(_python(home)), "-m", "pip", *PIP, *pins]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise ExportError(
            f"the packages of target={name} can't be installed: {pips_reason(answer.stderr)}",
            hint="pip needs a network, or an index that has them: PIP_INDEX_URL=…, PIP_FIND_LINKS=…",
        )


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def pips_reason(said: str) -> str:
    """The line with pip's reason: its last one that says ERROR, or else its last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip gave no reason"])[-1]
