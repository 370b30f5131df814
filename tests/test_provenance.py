from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mlstack.provenance import git_state, installed_versions, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    answer = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_the_commit_is_recorded(repository: Path) -> None:
    assert git_state(repository) == {"commit": git(repository, "rev-parse", "HEAD"), "uncommitted_changes": False}


def test_uncommitted_changes_are_recorded(repository: Path) -> None:
    (repository / "code.py").write_text("x = 2\n")
    assert git_state(repository)["uncommitted_changes"] is True


def test_outside_of_a_repository_there_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == {}
    monkeypatch.setenv("MLSTACK_COMMIT", "unknown")  # an image that was built without REVISION
    assert git_state(tmp_path) == {}


def test_an_image_knows_the_commit_that_it_was_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("MLSTACK_COMMIT", "1234abcd")
    assert git_state(tmp_path) == {"commit": "1234abcd"}


def test_without_git_there_is_no_state(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert git_state(repository) == {}


def test_versions_of_packages_that_are_not_installed_are_left_out() -> None:
    versions = installed_versions(("numpy", "no-such-package"))
    assert list(versions) == ["numpy"]


def test_provenance_is_plain_and_says_command_versions_and_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/train.py", "data=digits"])
    facts = json.loads(json.dumps(provenance()))
    assert facts["command"] == "scripts/train.py data=digits"
    assert {"python", "hydra-core", "numpy"} <= set(facts["versions"])
    assert facts["hardware"]["cores"] >= 1
    assert facts["hardware"]["memory_gb"] > 0
