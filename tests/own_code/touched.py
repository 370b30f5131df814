"""Which tests a change can touch: `make test ARGS="--changed"` for daily work, before the whole suite.

A test is touched when it, or anything that it imports on however long a way, has changed: also inside functions and in
the fixtures that it asks for. Documents, settings, scripts and deploy/ touch the tests that read them. What nobody can
judge that way (requirements, pyproject.toml) touches every test.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PLACES = (ROOT / "src", TESTS / "own_code", ROOT / "scripts", ROOT / "benchmarks")  # where modules are found
# A text that names a module, such as a command's task or a test's own data set: "few_digits:load".
MODULE = re.compile(r"[a-z_][\w.]*:\w+$|mlstack\.[\w.]+$")
# What is read or run rather than imported, by the beginning of its path: the folders of tests that do so.
READERS = {
    "configs/": ("config", "documents", "commands"),
    "scripts/": ("config", "documents"),
    "docs/": ("documents",),
    "README": ("documents",),
    "Makefile": ("documents",),
    "deploy/": ("deploy",),
    "benchmarks/": ("benchmarks",),
    **dict.fromkeys((".ci/", ".github/", "CONTRIBUTING", "PROJECT_BUILD_LOG"), ()),
}


def touched_tests(revision: str) -> set[Path]:
    """The test files that can be touched by what differs from a revision, or isn't in git yet."""
    names = _git("diff", "--name-only", revision) + _git("ls-files", "--others", "--exclude-standard")
    return touched_by({ROOT / name for name in names})


def touched_by(changed: Iterable[Path]) -> set[Path]:
    """The test files that a change of some files can touch; with any change those of the whole repository."""
    tests, changed = set(TESTS.rglob("test_*.py")), set(changed)
    folders: set[Path] = set()
    for path in changed:
        name = path.relative_to(ROOT).as_posix()
        readers = [READERS[one] for one in READERS if name.startswith(one)]
        if not readers and not (path.suffix == ".py" and name.startswith(("src/", "tests/"))):
            return tests
        folders.update(TESTS / folder for one in readers for folder in one)
    whole = set(TESTS.glob("test_*.py")) if changed else set()
    return whole | {path for path in tests if folders & set(path.parents) or changed & reached(path)}


@cache
def reached(test: Path) -> frozenset[Path]:
    """A test's file, those that it and its fixtures import, those that they import, …, and the conftest.py it sees."""
    found, new = set[Path](), {test}
    used = _read(test).words
    for folder in (test.parent, *test.parent.parents):
        if folder == ROOT:
            break
        if (conftest := folder / "conftest.py").is_file():
            found.add(conftest)
            new |= set(_of_fixtures(conftest, used))
    while new:
        found |= new
        new = {other for one in new for other in _read(one).files} - found
    return frozenset(found)


def _of_fixtures(conftest: Path, used: frozenset[str]) -> Iterator[Path]:
    """What conftest.py imports at its top, and in those of its functions that are used, or that used ones need.

    Fixtures that every test gets are none of them: they are about manners, and would make of any change one of all.
    """
    wanted, needed = set[str](), set(used)
    pieces = _pieces(conftest)
    while new := (needed & pieces.keys()) - wanted:
        wanted |= new
        needed |= {word for name in new for word in pieces[name].words}
    for name in ("", *wanted):
        yield from pieces[name].files


class Piece(NamedTuple):
    """What a file or a function imports, and its names, arguments and whole texts: those of fixtures among them."""

    words: frozenset[str]
    files: frozenset[Path]


@cache
def _read(path: Path) -> Piece:
    return _piece([_tree(path)], path)


@cache
def _pieces(conftest: Path) -> dict[str, Piece]:
    """Each function of a file by its name, and under "" what stands outside of them."""
    body = _tree(conftest).body
    functions = {node.name: _piece([node], conftest) for node in body if isinstance(node, ast.FunctionDef)}
    return {"": _piece([node for node in body if not isinstance(node, ast.FunctionDef)], conftest), **functions}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _piece(trees: Iterable[ast.AST], path: Path) -> Piece:
    """One walk for both: trees of a whole repository are too many to keep, and to walk twice."""
    words, files = set[str](), set[Path]()
    outside = PLACES[0] not in path.parents  # within it, such a text names what a lower room starts in a higher one
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Name(id=word) | ast.arg(arg=word):
                words.add(word)
            case ast.Constant(value=str(text)):
                words.add(text)
                if outside:
                    files |= _named(text)
            case ast.Import(names=names):
                files.update(file for alias in names for file in _files(alias.name))
            case ast.ImportFrom(module=str(module), names=names):
                files.update(file for alias in names for file in _files(f"{module}.{alias.name}"))
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"), args=[name, *_]):
                files.update(_computed(name, path))
    return Piece(frozenset(words), frozenset(files))


def _named(text: str) -> frozenset[Path]:
    """Files of a module or a script that a text names."""
    if MODULE.match(text):
        return _files(text.partition(":")[0])
    script = ROOT / "scripts" / text.rpartition("/")[2] if text.endswith(".py") else None
    return frozenset([script] if script and script.is_file() else ())


def _computed(name: ast.expr, path: Path) -> Iterator[Path]:
    """Modules whose name is put together: all that begin so, or all in the file's own folder."""
    if isinstance(name, ast.JoinedStr):
        first = name.values[0]
        if isinstance(first, ast.Constant):
            beginning = str(first.value).replace(".", "/")
            yield from (file for place in PLACES for file in place.glob(f"{beginning}*.py"))
        else:
            yield from path.parent.rglob("*.py")


@cache
def _files(module: str) -> frozenset[Path]:
    """The file of a module, and those of the packages around it; none for a module from elsewhere."""
    parts = module.split(".")
    inner = [place.joinpath(*parts[:count]) for place in PLACES for count in range(1, len(parts) + 1)]
    files = (path for one in inner for path in (one.with_suffix(".py"), one / "__init__.py"))
    return frozenset(path for path in files if path.is_file())


def _git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words, "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"--changed: git {' '.join(words)}: {done.stderr.strip()}")
    return [name for name in done.stdout.split("\0") if name]
