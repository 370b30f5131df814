"""A run and its bundle: those of stage 1 where they are there, else made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gpu_parts._part import SCRIPTS, Place
from mlstack.bundle.files import METADATA

WORDS = ("data=digits", "data.image_size=32", "trainer.max_epochs=1", "trainer.progress_bar=false", "tracker=none")


def run_and_bundle(place: Place) -> tuple[Path, Path]:
    """The folders of a finished run and of its bundle.

    Raises:
        RuntimeError: A script that makes them failed.
    """
    made = place.shared / "made"
    for runs, bundle in (
        (place.shared / "validate" / "one_epoch", place.shared / "validate" / "bundle"),
        (made, made / "bundle"),
    ):
        if (bundle / METADATA).is_file():
            return newest_run(runs), bundle
    model = "small_cnn" if place.dry else "resnet18"
    script("train.py", *WORDS, f"model={model}", f"trainer.accelerator={place.accelerator}", f"output_dir={made}")
    run = newest_run(made)
    script("export.py", f"run={run}", f"output={made / 'bundle'}")
    return run, made / "bundle"


def newest_run(folder: Path) -> Path:
    """The newest run folder below `folder`."""
    return max(path.parent for path in folder.glob("*/*/results.json"))


def script(name: str, *words: str) -> None:
    """Run one of scripts/; what it says goes to the part's log.

    Raises:
        RuntimeError: It failed; with what it said last.
    """
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / name), *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    print(done.stdout, done.stderr, sep="\n", flush=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(
            f"{name} ended with exit status {done.returncode}: {said[0] if done.returncode == 2 else said[-1]}"
        )
