"""Say what to do when a script is started without its environment. Any Python from 3.7 on can run this file."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("mlstack", "hydra", "numpy")  # of the training frameworks one is enough: engines/factory.py looks for it
VENV = Path(__file__).resolve().parent.parent / ".venv"
ACTIVATE = "source .venv/bin/activate"


def require() -> None:
    """End the process with one line and exit status 2 unless every needed package can be found (none is imported)."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return
    if VENV.is_dir() and Path(sys.prefix).resolve() != VENV.resolve():
        advice = "another Python than the environment's runs this; type: " + ACTIVATE
    else:
        advice = "run make setup, then type: " + ACTIVATE
    sys.exit(_complain("error: " + ", ".join(missing) + " not found: " + advice))


def _complain(line: str) -> int:
    print(line, file=sys.stderr)
    return 2
