"""Which engines there are, and what a look at the settings of each costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlstack
from mlstack.config.trainer import ENGINES, TrainerConfig

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ("torch", "pytorch_lightning", "paddle", "numpy")
CPU_SECONDS = 0.5


def test_the_engines_are_the_folders_that_hold_one() -> None:
    folders = {path.parent.name for path in Path(mlstack.__file__).parent.glob("engines/*/engine.py")}
    assert set(ENGINES) == folders
    assert TrainerConfig().engine == ENGINES[0]
    assert ENGINES[0] == "lightning" or "lightning" not in folders


def in_a_fresh_process(code: str, *words: str) -> tuple[float, set[str]]:
    """CPU seconds that Python code takes, and the modules that it has imported."""
    code = (
        f"import sys, time\ntry:\n    {code}\nfinally:\n    print(time.process_time(), *sys.modules, file=sys.stderr)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    line = [sys.executable, "-c", code, *words]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, *modules = done.stderr.split()
    return float(seconds), set(modules)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]], ids=" ".join)
def test_a_look_at_the_settings_costs_half_a_second_and_no_framework(engine: str, words: list[str]) -> None:
    """Half a second of an idle core; where others compete for it, three times what importing Hydra takes just then."""
    start = "import runpy; sys.path.insert(0, 'scripts'); runpy.run_path('scripts/train.py', run_name='__main__')"
    seconds, modules = in_a_fresh_process(start, f"trainer.engine={engine}", *words)
    assert not set(FRAMEWORKS) & modules
    assert seconds <= max(CPU_SECONDS, 3 * in_a_fresh_process("import hydra")[0])
