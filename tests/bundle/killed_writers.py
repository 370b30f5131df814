"""Writes a bundle over another one and dies at the first system call, then again at the second, and so on.

    python killed_writers.py FOLDER exchange|two_moves

Prints, for each death, what stood there afterwards: old, new, or what was wrong with it. Last: how many were cleaned.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlstack.bundle import replacing
from mlstack.bundle.folder import read_bundle, seal, write_bundle
from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput
from mlstack.errors import MLStackError


def write(folder: Path, version: str) -> None:
    with write_bundle(folder) as staging:
        (staging / "model.onnx").write_text(version * 1000)
        seal(staging, metadata(version))


def metadata(version: str) -> Metadata:
    return Metadata(
        "tiny", version, "2026-11-02T10:00:00+00:00", "classification", PictureInput(8, 8, 1, "crop", 8),
        "probabilities", ("a", "b"), 4, None, (ModelFile("model.onnx", "fp32", 0, {}, {}),), "fp32",
        None, {}, {}, {}, {}, {}, {},
    )  # fmt: skip


def die_at(count: int) -> None:
    """Let the process be killed before its `count`-th change of the file system, and leave half a file behind."""
    left = [count]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for owner, name in (
        *((Path, name) for name in ("mkdir", "rename", "write_text")),
        *((os, name) for name in ("fsync", "unlink", "rmdir")),
        (replacing, "_exchange"),
    ):
        setattr(owner, name, counted(getattr(owner, name)))


def survive(folder: Path, count: int) -> bool:
    """Whether a writer that is to die at its `count`-th step got to its end before."""
    child = os.fork()
    if child == 0:
        die_at(count)
        write(folder, "new")
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    root, way = Path(sys.argv[1]), sys.argv[2]
    if way == "two_moves":
        replacing._exchange = lambda one, other: False  # as on a system that can't
    cleaned, step, done = 0, 0, False
    while not done:
        step += 1
        folder = root / str(step) / "bundle"
        write(folder, "old")
        done = survive(folder, step)
        left = len(list(folder.parent.iterdir()))
        try:
            state = read_bundle(folder).metadata.version
        except MLStackError as error:
            state = str(error)
        write(folder, "next")
        assert read_bundle(folder).metadata.version == "next"
        assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
        cleaned += left > 1
        print(state)
        shutil.rmtree(folder.parent)
    print(f"cleaned {cleaned}")


if __name__ == "__main__":
    main()
