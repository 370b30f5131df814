from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mlstack.commands import check_env
from mlstack.commands.check_env import GIB, Check
from mlstack.config.commands import CheckEnvConfig
from mlstack.config.trainer import ENGINES

PACKAGES = {"lightning": "torch", "paddle": "paddle"}


def requirements(folder: Path, text: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text(text)
    return path


def stand_in(monkeypatch: pytest.MonkeyPatch, engine: str, check: Check) -> None:
    """No framework is imported: its line is this one."""
    monkeypatch.setattr(check_env, f"check_{PACKAGES[engine]}", lambda **_: check)


def test_the_table_has_a_line_for_each_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for engine in ENGINES:
        stand_in(monkeypatch, engine, Check(PACKAGES[engine], "ok", "9.9, CPU build"))
    check_env.check_env(CheckEnvConfig())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:] if line.startswith("ok")]
    frameworks = {PACKAGES[engine] for engine in ENGINES}
    names = {line.split()[1] for line in lines[1:]}
    assert {"python", *frameworks, "gpu", "outputs", "disk", "memory", "processor"} <= names


def test_json_holds_the_same_and_a_failed_check_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for engine in ENGINES:
        stand_in(monkeypatch, engine, Check("framework", "fail", "cannot be imported", "make setup"))
    with pytest.raises(SystemExit, match="1"):
        check_env.check_env(CheckEnvConfig(json=True))
    report = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert report["framework"] == {
        "name": "framework",
        "status": "fail",
        "finding": "cannot be imported",
        "remedy": "make setup",
    }


def test_an_old_python_fails_and_names_the_mend() -> None:
    assert check_env.check_python((3, 11, 0)).status == "ok"
    check = check_env.check_python((3, 10, 14))
    assert (check.status, check.remedy) == ("fail", "make setup PYTHON=python3.11")


def test_a_missing_package_fails_and_another_version_warns(tmp_path: Path) -> None:
    path = requirements(tmp_path, "# a comment\nno-such-package==1.0  # reason\nnumpy==0.1\n-r other.txt\n")
    assert [(check.name, check.status, check.remedy) for check in check_env.check_packages(path)] == [
        ("no-such-package", "fail", "make setup"),
        ("numpy", "warn", "make setup"),
    ]


def test_packages_at_their_pins_take_one_line(tmp_path: Path) -> None:
    path = requirements(tmp_path, f"numpy=={check_env.installed_version('numpy')}\n")
    assert [check.status for check in check_env.check_packages(path)] == ["ok"]


def test_without_a_requirements_file_there_is_a_warning(tmp_path: Path) -> None:
    assert [check.status for check in check_env.check_packages(tmp_path / "gone.txt")] == ["warn"]


def test_an_optional_package_is_never_a_problem(tmp_path: Path) -> None:
    [check] = check_env.check_optional_packages(requirements(tmp_path, "no-such-package==1.0\n"))
    assert check.status == "ok"
    assert "pip install 'no-such-package==1.0'" in check.finding


@pytest.mark.framework
@pytest.mark.parametrize("package", [PACKAGES[engine] for engine in ENGINES])
def test_a_cpu_machine_is_fine_and_an_unused_gpu_is_not(package: str) -> None:
    check = getattr(check_env, f"check_{package}")
    without_driver, with_driver = check(has_driver=False), check(has_driver=True)
    assert (without_driver.name, without_driver.status) == (package, "ok")
    if "sees" in with_driver.finding:
        assert with_driver.status == "ok"
    else:
        assert with_driver.status == ("warn" if "CPU build" in with_driver.finding else "fail")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_framework_that_cannot_be_imported_fails(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = PACKAGES[engine]
    (tmp_path / f"{package}.py").write_text("raise OSError('libcudart.so.13: no such file\\nmore')")
    for name in list(sys.modules):
        if name.split(".")[0] == package or name.startswith("mlstack.models.paddle"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    check = getattr(check_env, f"check_{package}")(has_driver=False)
    assert (check.status, check.finding) == ("fail", "cannot be imported: libcudart.so.13: no such file")


def test_the_driver_and_its_gpus_are_shown() -> None:
    assert check_env.check_driver(None).finding == "no NVIDIA GPU"
    assert check_env.check_driver(("580.1", ["A", "B"])).finding == "driver 580.1: A, B"


@pytest.mark.parametrize(("free", "status"), [(11 * GIB, "ok"), (5 * GIB, "warn"), (GIB // 2, "fail")])
def test_little_disk_warns_and_none_fails(free: int, status: str) -> None:
    assert check_env.check_disk(free).status == status


@pytest.mark.parametrize(("total", "status"), [(8 * GIB, "ok"), (2 * GIB, "warn")])
def test_little_memory_warns(total: int, status: str) -> None:
    assert check_env.check_memory(total).status == status


def test_an_output_folder_below_a_file_fails_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert check_env.check_writable(tmp_path / "new" / "outputs").status == "ok"
    assert check_env.check_writable(tmp_path / "file" / "outputs").status == "fail"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_processor_with_bf16_is_told_that_it_pays() -> None:
    assert "bf16 pays off" in check_env.check_processor(frozenset({"avx512f", "avx512_bf16"})).finding
    assert "no AVX512" in check_env.check_processor(frozenset()).finding
