from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "mlstack"
SOURCE = ROOT / "src" / PACKAGE
FILES = sorted(SOURCE.rglob("*.py"))

# A room imports only from floors below its own; within a room everything may import everything.
FLOORS = {
    "errors": 0,
    "config": 0,
    "utils": 1,
    "provenance": 2,
    "runs": 2,
    "metrics": 2,
    "datasets": 2,
    "bundle": 2,
    "monitoring": 3,
    "models": 3,
    "trackers": 3,
    "serving": 4,
    "engines": 4,
    "reports": 5,
    "export": 6,
    "validation": 7,
    "commands": 8,
}
FRAMEWORKS = {"torch", "torchvision", "pytorch_lightning", "lightning", "torchmetrics", "timm", "paddle"}
KNOW_A_FRAMEWORK = {"models", "engines", "commands"}

# Two run before there is an environment, one is for who changes the schema; none is a command of the package.
WHOLE_SCRIPTS = {"rename.py", "has_wheel.py", "document_configuration.py"}

LONGEST_FILE = 300
LONGEST_FUNCTION = 50
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


def room_of(path: Path) -> str:
    """`src/mlstack/config/keys.py` → config; `src/mlstack/runs.py` → runs."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


ROOMS = sorted({room_of(path) for path in FILES})


def of_room(room: str) -> list[Path]:
    return [path for path in FILES if room_of(path) == room]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions; not what only a type checker sees."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in FILES} - {"__init__"} <= set(FLOORS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_floors_below_its_own(room: str) -> None:
    for path in of_room(room):
        for module in imported(path):
            if module.startswith(f"{PACKAGE}."):
                other = module.split(".")[1]
                assert other == room or FLOORS[other] < FLOORS[room] or FLOORS[room] == FLOORS[other] == 0, (
                    f"{path.relative_to(SOURCE)}, floor {FLOORS[room]}, imports {module}, floor {FLOORS[other]}"
                )


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in KNOW_A_FRAMEWORK])
def test_only_models_engines_and_commands_know_a_framework(room: str) -> None:
    for path in of_room(room):
        assert {module.split(".")[0] for module in imported(path)} & FRAMEWORKS == set(), path.relative_to(SOURCE)


WING = {"errors", "config", "utils", "bundle", "monitoring", "serving"}
PICTURES = {f"{PACKAGE}.datasets.decode", f"{PACKAGE}.datasets.resample"}  # the resize rule, shared with training


@pytest.mark.parametrize("room", ["monitoring", "serving"])
def test_the_serving_wing_stands_on_bundles_alone(room: str) -> None:
    for path in of_room(room):
        own = {module for module in imported(path) if module.startswith(f"{PACKAGE}.")}
        assert {module.split(".")[1] for module in own - PICTURES} <= WING, path.relative_to(SOURCE)


def test_the_light_rooms_can_be_imported_without_a_framework() -> None:
    """In a fresh interpreter, since this one may hold torch for another test's sake."""
    # What writes for one tracker imports its package, once that tracker is asked for.
    of_one_tracker = set(SOURCE.glob("trackers/*_tracker.py")) | set(SOURCE.glob("trackers/tensorboard_events.py"))
    light = [path for path in FILES if room_of(path) not in {*KNOW_A_FRAMEWORK, "__init__"}]
    light = [path for path in light if path not in of_one_tracker]
    modules = [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in light]
    program = f"import importlib, sys\nfor m in {modules}: importlib.import_module(m)\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) & FRAMEWORKS == set()


@pytest.mark.parametrize("room", ROOMS)
def test_files_and_functions_stay_short(room: str) -> None:
    for path in of_room(room):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(SOURCE)
        assert len(text.splitlines()) <= LONGEST_FILE, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= LONGEST_FUNCTION, f"{name}: {node.name} has {length} lines"


def test_configuration_files_stay_short() -> None:
    limits = {"config.yaml": 20, "model/*.yaml": 10, "data/*.yaml": 15, "trainer/*.yaml": 15, "device/*.yaml": 13}
    for pattern, limit in limits.items():
        for path in (ROOT / "configs").glob(pattern):
            assert len(path.read_text(encoding="utf-8").splitlines()) < limit, path.name


def test_each_script_has_a_usage_line_and_only_starts_a_command() -> None:
    for path in (ROOT / "scripts").glob("[a-z]*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name in (ast.get_docstring(ast.parse(text)) or ""), f"{path.name}: the docstring shows no command"
        if path.name not in WHOLE_SCRIPTS:
            assert len(text.splitlines()) <= 30, path.name


def headings(path: Path) -> list[str]:
    """The levels of a document's headings, in order."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^(#+) ", prose, re.MULTILINE)


def code_blocks(path: Path) -> list[str]:
    """Fenced blocks without their comments, which are in the document's language."""
    blocks = re.findall(r"^```.*?^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+#[ ].*$", "", block, flags=re.MULTILINE) for block in blocks]


def table_rows(path: Path) -> list[int]:
    """The number of cells of each row of each table, in order."""
    return [line.count(" | ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


def test_the_two_readmes_have_the_same_sections_tables_and_code() -> None:
    english, chinese = READMES
    assert headings(english) == headings(chinese)
    assert code_blocks(english) == code_blocks(chinese)
    assert table_rows(english) == table_rows(chinese)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_a_readme_is_read_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 250


@pytest.mark.parametrize("path", [*READMES, *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))], ids=str)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), target
