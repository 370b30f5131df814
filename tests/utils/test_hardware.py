from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mlstack.utils import hardware

HOST_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_cgroup_limit_every_core_is_usable(tmp_path: Path) -> None:
    assert hardware.usable_cores(tmp_path) == HOST_CORES
    write(tmp_path / "cpu.max", "max 100000\n")
    assert hardware.usable_cores(tmp_path) == HOST_CORES


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("99900000 100000", HOST_CORES)]
)
def test_a_quota_of_cgroup_version_2_limits_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "cpu.max", f"{quota}\n")
    assert hardware.usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("-1", HOST_CORES)])
def test_a_quota_of_cgroup_version_1_limits_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", f"{quota}\n")
    write(tmp_path / "cpu" / "cpu.cfs_period_us", "100000\n")
    assert hardware.usable_cores(tmp_path) == cores


def test_openmp_gets_the_threads_that_a_quota_grants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is put back afterwards, whatever it was
    monkeypatch.delenv("OMP_NUM_THREADS")
    hardware.limit_threads(tmp_path)
    assert "OMP_NUM_THREADS" not in os.environ
    write(tmp_path / "cpu.max", "100000 100000\n")
    hardware.limit_threads(tmp_path)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    hardware.limit_threads(tmp_path)
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_memory_is_the_lesser_of_machine_and_cgroup(tmp_path: Path) -> None:
    machine = hardware.total_memory(tmp_path)
    assert machine > 2**28
    write(tmp_path / "memory.max", "max\n")
    assert hardware.total_memory(tmp_path) == machine
    write(tmp_path / "memory.max", f"{2**28}\n")
    assert hardware.total_memory(tmp_path) == 2**28


def test_the_huge_number_of_cgroup_version_1_means_no_limit(tmp_path: Path) -> None:
    machine = hardware.total_memory(tmp_path)
    write(tmp_path / "memory" / "memory.limit_in_bytes", "9223372036854771712\n")
    assert hardware.total_memory(tmp_path) == machine
    write(tmp_path / "memory" / "memory.limit_in_bytes", f"{2**28}\n")
    assert hardware.total_memory(tmp_path) == 2**28


def test_name_and_flags_come_from_cpuinfo(tmp_path: Path) -> None:
    write(tmp_path / "cpuinfo", "model name\t: Fast: 9000\nflags\t\t: avx2 avx512_bf16\n\nmodel name\t: second\n")
    assert hardware.cpu_name(tmp_path) == "Fast: 9000"
    assert hardware.cpu_flags(tmp_path) == {"avx2", "avx512_bf16"}


def test_a_machine_without_cpuinfo_has_a_name_and_no_flags(tmp_path: Path) -> None:
    assert hardware.cpu_name(tmp_path)
    assert hardware.cpu_flags(tmp_path) == frozenset()


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_driver_and_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, "print('580.10, Big GPU\\n580.10, Small GPU')")
    assert hardware.gpu_driver() == ("580.10", ["Big GPU", "Small GPU"])


@pytest.mark.parametrize("body", ["raise SystemExit(9)", "print('No devices were found')"])
def test_a_driver_that_does_not_answer_is_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, body)
    assert hardware.gpu_driver() is None


def test_without_nvidia_smi_there_is_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.gpu_driver() is None
