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
    used = _words(test)
    for folder in (test.parent, *test.parent.parents):
        if folder == ROOT:
            break
        if (conftest := folder / "conftest.py").is_file():
            found.add(conftest)
            new |= set(_of_fixtures(conftest, used))
    while new:
        found |= new
        new = {other for one in new for other in _imported(one)} - found
    return frozenset(found)


def _of_fixtures(conftest: Path, used: frozenset[str]) -> Iterator[Path]:
    """What conftest.py imports at its top, and in those of its functions that are used, or that used ones need.

    Fixtures that every test gets are none of them: they are about manners, and would make of any change one of all.
    """
    wanted, needed = set[str](), set(used)
    functions = {node.name: node for node in _tree(conftest).body if isinstance(node, ast.FunctionDef)}
    while new := (needed & functions.keys()) - wanted:
        wanted |= new
        needed |= {word for name in new for word in _words_of(functions[name])}
    for node in _tree(conftest).body:
        if not isinstance(node, ast.FunctionDef) or node.name in wanted:
            yield from _files_of(node, conftest)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _words(path: Path) -> frozenset[str]:
    return _words_of(_tree(path))


def _words_of(tree: ast.AST) -> frozenset[str]:
    """Names, arguments and whole texts: among them are the fixtures and functions that a piece of a file asks for."""
    nodes = list(ast.walk(tree))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return frozenset({node.arg for node in nodes if isinstance(node, ast.arg)} | names | texts)


@cache
def _imported(path: Path) -> frozenset[Path]:
    return frozenset(_files_of(_tree(path), path))


def _files_of(tree: ast.AST, path: Path) -> Iterator[Path]:
    """Files of the modules that a piece of a file imports; outside the package also of modules and scripts it names."""
    outside = PLACES[0] not in path.parents  # within it, such a text names what a lower room starts in a higher one
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (file for alias in node.names for file in _files(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from _files(f"{node.module}.{alias.name}")
        elif outside and isinstance(node, ast.Constant) and isinstance(node.value, str):
            if MODULE.match(node.value):
                yield from _files(node.value.partition(":")[0])
            elif node.value.endswith(".py"):
                yield from (file for file in [ROOT / "scripts" / node.value.rpartition("/")[2]] if file.is_file())
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from _computed(node.args[0], path)


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
