from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with scripts and nothing else; the Python that runs them has no packages."""
    shutil.copytree(SCRIPTS, tmp_path / "clone" / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "clone"


def start(clone: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-I", "-S", "-c", "import runpy, sys; sys.path.insert(0, 'scripts'); "
             "runpy.run_path('scripts/train.py', run_name='__main__')"]  # fmt: skip
    return subprocess.run(words, cwd=clone, capture_output=True, text=True, check=False)


def test_a_script_without_its_environment_says_to_make_it(clone: Path) -> None:
    done = start(clone)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "make setup" in done.stderr
    assert "source .venv/bin/activate" in done.stderr


def test_a_script_run_by_another_python_says_to_activate_the_environment(clone: Path) -> None:
    venv.create(clone / ".venv", with_pip=False, symlinks=True)
    done = start(clone)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "source .venv/bin/activate" in done.stderr
    assert "make setup" not in done.stderr
