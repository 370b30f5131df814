"""A copy of the repository that may be changed at will: what git knows and what is new, with every module compiled."""

from __future__ import annotations

import compileall
import contextlib
import py_compile
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


def copy(root: Path, target: Path) -> None:
    """Copy the work tree, as it stands, into `target`, a git repository of its own."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (root / name).is_file():  # else removed, but not yet from the index
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    author = ["-c", "user.name=copy", "-c", "user.email=copy@localhost"]
    for words in (["init"], ["add", "--all"], [*author, "commit", "--message", "Copy"]):
        subprocess.run(["git", *words], cwd=target, check=True, capture_output=True)
    # Checked by the source's hash, a compiled file never answers for a mutant that was written in the same second.
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(str(target / "src"), quiet=1, invalidation_mode=checked)


@contextlib.contextmanager
def exchanged(path: Path, code: str) -> Iterator[None]:
    """The file with another text, for a while."""
    before = path.read_text(encoding="utf-8")
    path.write_text(code, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")
