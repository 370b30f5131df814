from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".git", ".venv*", "outputs", "data", ".*_cache", ".coverage*")


def left_out(folder: str, names: list[str]) -> set[str]:
    """What a clone does not hold. configs/data is no data/: most patterns are for the top folder alone."""
    patterns = ("__pycache__", "*.egg-info", *(LEFT_OUT if Path(folder) == ROOT else ()))
    return set(shutil.ignore_patterns(*patterns)(folder, names))


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def rename(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/rename.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree as somebody has just cloned it."""
    folder = tmp_path_factory.mktemp("clone") / "repository"
    shutil.copytree(ROOT, folder, ignore=left_out)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "template")
    return folder


@pytest.fixture(scope="module")
def renamed(clone: Path) -> Path:
    folder = clone.with_name("renamed")
    shutil.copytree(clone, folder)
    answer = rename(folder, "my_project")
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no package name"),
        ("My-Project", "NAME=my_project"),
        ("2fast", "no package name"),
        ("mlstack", "its name already"),
        ("class", "belongs to Python"),
        ("json", "belongs to Python"),
        ("torch", "a package that this project uses"),
        ("scikit_learn", "a package that this project uses"),
        ("trainer", "a word of the code"),
    ],
)
def test_a_name_that_cannot_work_is_refused_in_one_line(clone: Path, name: str, reason: str) -> None:
    answer = rename(clone, name)
    assert answer.returncode == 2
    assert reason in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert git(clone, "status", "--porcelain") == ""


def test_uncommitted_changes_are_not_touched_without_force(clone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dirty"
    shutil.copytree(clone, folder)
    (folder / "README.md").write_text("about mlstack\n")
    assert "FORCE=1" in rename(folder, "my_project").stderr
    assert rename(folder, "my_project", "--force").returncode == 0
    assert (folder / "README.md").read_text() == "about my_project\n"


def test_outside_a_git_repository_nothing_is_renamed(clone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    shutil.copytree(clone, folder, ignore=shutil.ignore_patterns(".git"))
    answer = subprocess.run(
        [sys.executable, "scripts/rename.py", "my_project"],
        cwd=folder,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, "git init" in answer.stderr) == (2, True)
    assert (folder / "src" / "mlstack").is_dir()


def test_the_old_name_is_left_in_the_licence_alone(renamed: Path) -> None:
    git(renamed, "add", "--all")
    assert git(renamed, "grep", "--ignore-case", "--name-only", "mlstack").split() == ["LICENSE"]


def test_a_renamed_project_is_formatted_and_lint_free(renamed: Path) -> None:
    for arguments in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        command = [Path(sys.executable).with_name("ruff"), *arguments]
        answer = subprocess.run(command, cwd=renamed, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout


def test_a_renamed_project_composes_its_configuration(renamed: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "scripts/train.py", "data=digits", "--cfg", "job"],
        cwd=renamed,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "name: digits" in answer.stdout


def test_a_renamed_project_can_be_renamed_again(renamed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(renamed, folder)
    assert rename(folder, "second_name", "--force").returncode == 0
    assert (folder / "src" / "second_name" / "errors.py").is_file()
