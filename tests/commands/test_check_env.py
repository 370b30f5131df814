from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mlstack.commands import check_env
from mlstack.config.commands import CheckEnvConfig
from mlstack.config.trainer import ENGINES
from mlstack.validation import container_checks, gpu_checks, machine
from mlstack.validation.machine import GB, Check

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
    assert {"python", *frameworks, "cuda", "gpu", "outputs", "disk", "memory", "processor", "containers"} <= names


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
    assert machine.check_python((3, 11, 0)).status == "ok"
    check = machine.check_python((3, 10, 14))
    assert (check.status, check.remedy) == ("fail", "make setup PYTHON=python3.11")


def test_a_missing_package_fails_and_another_version_warns(tmp_path: Path) -> None:
    path = requirements(tmp_path, "# a comment\nno-such-package==1.0  # reason\nnumpy==0.1\n-r other.txt\n")
    assert [(check.name, check.status, check.remedy) for check in machine.check_packages(path)] == [
        ("no-such-package", "fail", "make setup"),
        ("numpy", "warn", "make setup"),
    ]


def test_packages_at_their_pins_take_one_line(tmp_path: Path) -> None:
    path = requirements(tmp_path, f"numpy=={machine.installed_version('numpy')}\n")
    assert [check.status for check in machine.check_packages(path)] == ["ok"]


def test_without_a_requirements_file_there_is_a_warning(tmp_path: Path) -> None:
    assert [check.status for check in machine.check_packages(tmp_path / "gone.txt")] == ["warn"]


def test_an_optional_package_is_never_a_problem(tmp_path: Path) -> None:
    [check] = machine.check_optional_packages(requirements(tmp_path, "no-such-package==1.0\n"))
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


def program(folder: Path, name: str, body: str) -> None:
    """A small program on PATH that stands in for one that is not here."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)


def test_the_driver_and_its_gpus_are_shown() -> None:
    assert gpu_checks.check_driver(None, {}).finding == "no NVIDIA GPU"
    check = gpu_checks.check_driver(("580.1", ["A", "B"]), {"torch": "13.0", "paddle": None})
    assert (check.status, check.finding) == ("ok", "driver 580.1: A, B")


@pytest.mark.parametrize(
    ("version", "torch", "paddle", "status"),
    [
        ("580.65.06", "13.0", None, "ok"),
        ("575.51.03", "13.0", None, "fail"),
        ("575.51.03", "12.9", None, "ok"),
        ("524.99", None, "12.6", "fail"),
        ("450.80.02", "11.8", None, "ok"),
        ("450.36.06", "11.8", None, "fail"),
        ("575.51.03", "12.6", "13.0", "fail"),
        ("300", None, None, "ok"),
        ("300", "99.0", None, "ok"),
    ],
)
def test_the_least_driver_follows_from_the_cuda_builds(
    version: str, torch: str | None, paddle: str | None, status: str
) -> None:
    check = gpu_checks.check_driver((version, ["A"]), {"torch": torch, "paddle": paddle})
    assert check.status == status
    assert bool(check.remedy) == (status == "fail")


def test_a_driver_that_is_too_old_is_told_for_whom_and_how_to_renew_it() -> None:
    check = gpu_checks.check_driver(("575.51.03", ["A"]), {"torch": "12.6", "paddle": "13.0"})
    assert check.finding.endswith("580 or newer is needed for paddle, built for CUDA 13.0")
    assert "apt-get install nvidia-driver-580" in check.remedy


@pytest.mark.framework
def test_the_cuda_build_is_read_as_torch_itself_tells_it() -> None:
    import torch

    assert gpu_checks.cuda_build("torch") == torch.version.cuda


@pytest.mark.parametrize(
    ("text", "build"), [("cuda: Optional[str] = '12.8'", "12.8"), ("cuda = None", None), ("hip = '6.0'", None)]
)
def test_a_build_is_told_from_the_file_that_notes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, build: str | None
) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('not to be imported')")
    (package / "version.py").write_text(f"__version__ = '9'\n{text}\n")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert gpu_checks.cuda_build("torch") == build


def test_what_the_frameworks_were_built_for_is_one_line() -> None:
    check = gpu_checks.check_cuda({"torch": "12.8", "paddle": None})
    assert check.finding == "torch for CUDA 12.8, paddle for the CPU; least driver 525"


def test_the_memory_of_each_gpu_is_read_and_a_small_one_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_checks.gpu_memory() == []
    assert gpu_checks.check_gpu_memory([]) is None
    program(tmp_path, "nvidia-smi", "print('81559\\n4096')")
    assert gpu_checks.gpu_memory() == [81559 * 2**20, 4096 * 2**20]
    check = gpu_checks.check_gpu_memory(gpu_checks.gpu_memory())
    assert check is not None
    assert (check.status, check.finding) == ("warn", "85.5 GB, 4.3 GB, 6 are advised")
    program(tmp_path, "nvidia-smi", "raise SystemExit(9)")
    assert gpu_checks.gpu_memory() == []


def test_a_card_sold_with_6_gb_is_enough() -> None:
    check = gpu_checks.check_gpu_memory([6069 * 2**20])  # what a GTX 1060 shows
    assert check is not None
    assert check.status == "ok"


def containers(*, has_gpu: bool = False) -> list[Check]:
    return list(container_checks.check_containers(has_gpu=has_gpu))


def test_without_a_container_program_there_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [check] = containers(has_gpu=True)
    assert (check.status, check.remedy) == ("warn", "sudo apt-get install docker.io")


@pytest.mark.parametrize("name", container_checks.PROGRAMS)
def test_an_engine_that_answers_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, name, "print('20.10.24')")
    [check] = containers()
    assert (check.status, check.finding) == ("ok", f"{name} 20.10.24, the engine answers")


def test_an_engine_that_is_down_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    program(tmp_path, "docker", "raise SystemExit('Cannot connect to the daemon\\nmore')")
    [check] = containers()
    assert (check.status, check.remedy) == ("warn", "sudo systemctl start docker")
    assert check.finding == "the engine of docker does not answer: Cannot connect to the daemon"


def test_a_socket_that_this_user_may_not_use_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    (tmp_path / "docker.sock").touch()
    # root may use any file
    monkeypatch.setattr(container_checks.os, "access", lambda path, _: Path(path).name != "docker.sock")
    program(tmp_path, "docker", "raise SystemExit('permission denied')")
    [check] = containers()
    assert check.remedy == "sudo usermod -aG docker $USER && newgrp docker"


def test_an_engine_elsewhere_has_no_socket_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2376")
    assert container_checks.docker_socket() is None
    monkeypatch.delenv("DOCKER_HOST")
    assert container_checks.docker_socket() == Path("/var/run/docker.sock")


def test_an_engine_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(container_checks, "ANSWER_WITHIN", 0.2)
    program(tmp_path, "podman", "import time; time.sleep(60)")
    [check] = containers()
    assert (check.status, check.finding) == ("warn", "podman has not answered in 0.2 s")


def test_a_machine_with_a_gpu_needs_the_container_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "docker", "print('27.0')")
    assert [check.status for check in containers(has_gpu=True)] == ["ok", "warn"]
    program(tmp_path, "nvidia-ctk", "")
    assert [check.status for check in containers(has_gpu=True)] == ["ok", "ok"]


@pytest.mark.parametrize(("free", "status"), [(21 * GB, "ok"), (15 * GB, "warn"), (GB // 2, "fail")])
def test_little_disk_warns_and_none_fails(free: int, status: str) -> None:
    assert machine.check_disk(free).status == status


@pytest.mark.parametrize(("total", "status"), [(8 * GB, "ok"), (2 * GB, "warn"), (GB // 2, "fail")])
def test_little_memory_warns_and_almost_none_fails(total: int, status: str) -> None:
    assert machine.check_memory(total).status == status


def test_a_cgroup_that_grants_fewer_cores_than_there_are_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(machine.hardware, "usable_cores", lambda: 2)
    assert machine.check_processor(frozenset()).finding.startswith("2 usable cores of 64 (quota or affinity)")


def test_an_output_folder_below_a_file_fails_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert machine.check_writable(tmp_path / "new" / "outputs").status == "ok"
    assert machine.check_writable(tmp_path / "file" / "outputs").status == "fail"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_processor_with_bf16_is_told_that_it_pays() -> None:
    assert "bf16 pays off" in machine.check_processor(frozenset({"avx512f", "avx512_bf16"})).finding
    assert "no AVX512" in machine.check_processor(frozenset()).finding
