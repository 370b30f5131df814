from __future__ import annotations

from pathlib import Path

import pytest
from touched import ROOT, TESTS, touched_by, touched_tests


def touched(*changed: str) -> set[str]:
    return {path.relative_to(TESTS).as_posix() for path in touched_by(ROOT / name for name in changed)}


WHOLE = {path.name for path in TESTS.glob("test_*.py")}


DECODE, MUON, DRIFT = "datasets/decode.py", "engines/lightning/muon.py", "monitoring/drift.py"


@pytest.mark.parametrize(
    ("changed", "inside", "outside"),
    [
        (
            f"src/mlstack/{DECODE}",
            ["datasets/test_decode.py", "commands/test_predict.py"],
            ["monitoring/test_drift.py"],
        ),
        (f"src/mlstack/{MUON}", ["engines/test_muon.py", "commands/test_train.py"], ["serving/test_keys.py"]),
        (f"src/mlstack/{DRIFT}", ["monitoring/test_drift.py", "serving/test_service.py"], ["engines/test_muon.py"]),
        ("src/mlstack/errors.py", ["config/test_compose.py", "metrics/test_calibration.py"], []),
        ("tests/own_code/few_digits.py", ["engines/test_faults.py"], ["serving/test_keys.py"]),
        ("tests/metrics/test_scores.py", ["metrics/test_scores.py"], ["metrics/test_regression.py"]),
        ("docs/serving.md", ["documents/test_serving.py"], ["serving/test_keys.py"]),
        ("deploy/cpu/Dockerfile", ["deploy/test_dockerfiles.py"], ["engines/test_muon.py"]),
        (
            "configs/model/resnet18.yaml",
            ["config/test_compose.py", "documents/test_readme.py"],
            ["serving/test_keys.py"],
        ),
    ],
)
def test_a_change_touches_what_imports_or_reads_it_and_no_more(
    changed: str, inside: list[str], outside: list[str]
) -> None:
    assert all((TESTS / name).is_file() for name in (*inside, *outside))
    found = touched(changed)
    assert {*inside, *WHOLE} <= found
    assert not found & set(outside)


def test_a_fixture_that_a_test_asks_for_is_a_way_to_what_it_imports() -> None:
    found = touched("src/mlstack/commands/train.py")
    assert "reports/test_fonts.py" not in found
    assert {"commands/test_evaluate.py", "commands/test_train.py"} <= found


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements-cpu.txt", "tests/conftest.py"])
def test_what_nobody_can_judge_touches_every_test(changed: str) -> None:
    assert touched(changed) == {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}


def test_nothing_changed_touches_no_test() -> None:
    assert touched_by([]) == set()


def test_a_revision_that_is_not_there_is_one_message() -> None:
    with pytest.raises(SystemExit, match="--changed: git diff"):
        touched_tests("no-such-revision")


def test_files_that_git_does_not_know_yet_are_changes(tmp_path: Path) -> None:
    new = TESTS / "metrics" / f"test_new_{tmp_path.name}.py"
    new.write_text("def test_nothing() -> None: ...\n")
    try:
        assert new in touched_tests("HEAD")
    finally:
        new.unlink()
