"""docs/engines.md says how to delete an engine: done to a copy in which its framework cannot be imported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlstack.config.trainer import ENGINES

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8").partition("\n## Keep one engine only\n")[2]
BLOCKS = re.findall(r"^```bash\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
# What is not there any more, by the engine that is deleted.
PACKAGES = {
    "paddle": ("paddle", "paddle2onnx"),
    "lightning": ("torch", "torchvision", "pytorch_lightning", "lightning_fabric", "torchmetrics", "timm"),
}
QUICK = [
    *("tests/config/test_engines.py", "tests/config/test_compose.py", "tests/config/test_passthrough.py"),
    *("tests/documents/test_engines.py", "tests/documents/test_configuration.py", "tests/test_layout.py"),
]
SLOW = "costs or light_rooms"  # seconds each, for processes of their own
TINY = ["data=digits", "model=small_cnn", "model.args.width=4", "trainer.max_steps=2", "trainer.progress_bar=false"]

Run = Callable[..., str]


@pytest.fixture
def in_a_copy(tmp_path: Path) -> Callable[[str], Run]:
    """`in_a_copy("paddle")`: a copy of the repository without Paddle's packages, in which commands are run."""
    copy, absent = tmp_path / "copy", tmp_path / "absent"
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)

    def without(engine: str) -> Run:
        for package in PACKAGES[engine]:
            (absent / package).mkdir(parents=True)
            (absent / package / "__init__.py").write_text(
                f"raise ModuleNotFoundError('no {package}', name='{package}')"
            )
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COV")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{copy / 'src'}{os.pathsep}{absent}",
            "OMP_NUM_THREADS": "1",
        }

        def run(*words: str) -> str:
            done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
            return done.stdout

        return run

    return without


@pytest.mark.long
@pytest.mark.framework
@pytest.mark.parametrize("engine", ENGINES if len(ENGINES) > 1 else ())
def test_the_other_engine_and_the_suite_go_on_without_it(engine: str, in_a_copy: Callable[[str], Run]) -> None:
    [commands] = [block for block in BLOCKS if f"src/mlstack/engines/{engine}" in block]
    [other] = set(ENGINES) - {engine}
    run = in_a_copy(engine)
    run("bash", "-euc", commands)
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run(*pytest_, "--collect-only")
    run(*pytest_, "-x", "-m", "not framework", "-k", f"not ({SLOW})", *QUICK)
    opening = run(sys.executable, "scripts/train.py", *TINY)
    assert f"digits_small_cnn_{other}" in opening
