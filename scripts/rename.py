#!/usr/bin/env python3
"""Give the package a name of your own, in every file that git tracks:

    make rename NAME=my_project        or        python3 scripts/rename.py my_project

Renames src/mlstack, every import, pyproject.toml, the documents, and what is derived from the name (MLStackError,
MLSTACK_ variables). LICENSE keeps the name of those who wrote the template, as its terms ask. Needs only Python and
git, no environment, and takes a second. It renames itself too, so it can be used again.
"""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLD = "mlstack"
OLD_CLASS = "MLStack"
KEPT = {"LICENSE"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="the new name: lower-case letters, digits and underscores")
    parser.add_argument("--force", action="store_true", help="rename although there are uncommitted changes")
    arguments = parser.parse_args()
    if problem := problem_with(arguments.name) or problem_with_tree(force=arguments.force):
        print(problem, file=sys.stderr)
        sys.exit(2)
    changed = rename(arguments.name)
    tidy()
    print(f"{OLD} is now {arguments.name}: {changed} files changed, src/{OLD} moved")
    print("next: make test, then git add -A && git commit")


def problem_with(name: str) -> str:
    """Why `name` cannot be a package's name here; empty where it can."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        suggestion = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        hint = f", such as NAME={suggestion}" if suggestion[:1].isalpha() else ", such as NAME=my_project"
        return f"NAME={name!r} is no package name: lower-case letters, digits and underscores{hint}"
    if name == OLD:
        return f"NAME={name} is its name already"
    if keyword.iskeyword(name) or name in sys.stdlib_module_names:
        return f"NAME={name} belongs to Python itself: take another one"
    if name in taken_names() or importlib.util.find_spec(name) is not None:
        return f"NAME={name} is the name of a package that this project uses: take another one"
    if any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) for path in (ROOT / "src").rglob("*.py")):
        return f"NAME={name} is a word of the code already, the two could not be told apart: take another one"
    return ""


def taken_names() -> set[str]:
    """Packages that the requirements name, and modules that .venv holds."""
    files = [*ROOT.glob("requirements-*.txt"), ROOT / "constraints.txt"]
    pinned = re.findall(r"^([\w.-]+)==", "\n".join(path.read_text(encoding="utf-8") for path in files), re.MULTILINE)
    installed = ROOT.glob(".venv/lib/python*/site-packages/*")
    return {name.lower().replace("-", "_") for name in pinned} | {path.stem for path in installed}


def problem_with_tree(*, force: bool) -> str:
    """Why this tree cannot be renamed now; empty where it can."""
    status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    if status.returncode != 0:
        return "only what git tracks is renamed, and here is no git repository: git init && git add -A, then again"
    if status.stdout and not force:
        return "there are uncommitted changes: commit them first, or make rename NAME=… FORCE=1"
    return ""


def rename(name: str) -> int:
    """Rewrite the tracked text files, then move the package. Returns how many files changed."""
    changed = 0
    for path in tracked_files():
        try:
            before = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # an image
            continue
        after = replaced(before, name)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
    (ROOT / "src" / OLD).rename(ROOT / "src" / name)
    return changed


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name and name not in KEPT]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def replaced(text: str, name: str) -> str:
    """`text` with the three spellings of the old name changed: mlstack, MLSTACK and MLStack."""
    class_name = "".join(part.capitalize() for part in name.split("_"))
    for old, new in ((OLD, name), (OLD.upper(), name.upper())):
        text = re.sub(rf"(?<![A-Za-z0-9]){old}(?![A-Za-z0-9])", new, text)
    return re.sub(rf"(?<![A-Za-z0-9]){OLD_CLASS}(?![a-z])", class_name, text)


def tidy() -> None:
    """Remove what was compiled under the old name, and mend line breaks and import order where ruff is at hand."""
    shutil.rmtree(ROOT / "src" / f"{OLD}.egg-info", ignore_errors=True)
    for cache in (ROOT / "src").rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)
    for ruff in (ROOT / ".venv" / "bin" / "ruff", Path(sys.executable).with_name("ruff")):
        if ruff.exists():
            subprocess.run([ruff, "check", "--fix", "--quiet", "--exit-zero"], cwd=ROOT, check=True)
            subprocess.run([ruff, "format", "--quiet"], cwd=ROOT, check=True)
            return


if __name__ == "__main__":
    main()
