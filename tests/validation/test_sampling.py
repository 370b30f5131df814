from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlstack.validation import sampling
from mlstack.validation.nvml import open_gpu
from mlstack.validation.sampling import Sample, Sampler

# Stands in for nvidia-ml-py: no GPU is needed to see what is asked of it.
PYNVML = """
class NVMLError(Exception):
    pass

class Rates:
    gpu = 93

class Memory:
    total, used = 8 * 2**30, 2 * 2**30

def nvmlInit():
    FAIL_ON_INIT
    print("init")

def nvmlShutdown(): print("shutdown")
def nvmlDeviceGetHandleByIndex(index): return f"index {index}"
def nvmlDeviceGetHandleByUUID(name): return f"name {name}"
def nvmlDeviceGetName(handle): return f"GPU {handle}".encode()
def nvmlSystemGetDriverVersion(): return "580.10"
def nvmlDeviceGetMemoryInfo(handle): return Memory
def nvmlDeviceGetUtilizationRates(handle):
    FAIL_ON_RATES
    return Rates
"""
FAILURES = ("FAIL_ON_INIT", "FAIL_ON_RATES")


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *, failing: str = "") -> None:
    text = PYNVML
    for place in FAILURES:
        text = text.replace(place, "raise NVMLError()" if place == failing else "pass")
    (folder / "pynvml.py").write_text(text)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize(
    ("visible", "handle"), [("", "index 0"), ("3,1", "index 3"), ("GPU-6f1a", "name GPU-6f1a"), ("all", "index 0")]
)
def test_the_gpu_that_training_would_use_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], visible: str, handle: str
) -> None:
    stand_in(tmp_path, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with open_gpu() as gpu:
        assert gpu is not None
        assert (gpu.name, gpu.driver, gpu.total) == (f"GPU {handle}", "580.10", 8 * 2**30)
        assert (gpu.busy(), gpu.memory()) == (0.93, 0.25)
    assert capsys.readouterr().out.split() == ["init", "shutdown"]


def test_without_a_driver_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, failing="FAIL_ON_INIT")
    with open_gpu() as gpu:
        assert gpu is None


def test_a_gpu_that_does_not_tell_its_utilization_still_tells_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, failing="FAIL_ON_RATES")
    with open_gpu() as gpu:
        assert gpu is not None
        sample = sampling.look(1, gpu)
    assert (sample.gpu_busy, sample.gpu_memory) == (None, 0.25)


def test_without_the_package_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what an import then finds is that there is none
    with open_gpu() as gpu:
        assert gpu is None


def test_a_process_and_its_child_are_looked_at_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    burn = "import time\nwhile time.process_time() < 0.3: pass\ninput()"
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process, open_gpu() as gpu:
        with Sampler(process.pid, gpu, every=0.01) as sampler:
            deadline = time.monotonic() + 60
            while not _has_used(sampler, 0.3) and time.monotonic() < deadline:
                time.sleep(0.01)
        process.communicate(b"\n")
    last = sampler.samples[-1]
    assert last.cpu_seconds is not None
    assert last.cpu_seconds >= 0.3
    assert sampling.peak_rss_mb(sampler.samples) > 10  # type: ignore[operator]
    assert {sample.gpu_busy for sample in sampler.samples} == {0.93}


def _has_used(sampler: Sampler, seconds: float) -> bool:
    return bool(sampler.samples) and (sampler.samples[-1].cpu_seconds or 0) >= seconds


def test_a_process_that_has_ended_has_no_usage() -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert sampling.usage(int(process.stdout)) == (None, None)


def test_usage_adds_up_the_descendants(tmp_path: Path) -> None:
    def stat(pid: int, parent: int, ticks: str, pages: int) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        before = f"{pid} (a ) b) S {parent} " + "0 " * 9
        (folder / "stat").write_text(f"{before}{ticks} 0 0 0 0 0 0 {pages} 0")

    stat(10, 1, "100 20 5 5", 256)
    stat(11, 10, "50 0 0 0", 256)
    stat(12, 11, "20 0 0 0", 256)
    stat(20, 1, "9999 0 0 0", 9999)
    (tmp_path / "13").mkdir()  # has just ended
    (tmp_path / "13" / "stat").write_text("")
    seconds, mib = sampling.usage(10, tmp_path)
    assert seconds == pytest.approx(200 / sampling.os.sysconf("SC_CLK_TCK"))
    assert mib == pytest.approx(3 * 256 * sampling.os.sysconf("SC_PAGE_SIZE") / 2**20)


SAMPLES = tuple(
    Sample(at, cpu_seconds=2 * at, rss_mb=at, gpu_busy=busy, gpu_memory=memory)
    for at, busy, memory in [
        (0.0, 0.0, 0.1),  # imports
        (1.5, 0.2, 0.3),  # training since 1.0; looks back before it
        (2.5, 0.9, 0.4),
        (3.5, 1.0, 0.5),
        (4.5, 0.1, 0.9),  # validation
    ]
)


def test_utilization_counts_training_only_and_not_what_was_before_it() -> None:
    assert sampling.gpu_utilization(SAMPLES, [(1.0, 4.0)]) == pytest.approx(0.95)
    assert sampling.gpu_utilization(SAMPLES, [(1.0, 1.8)]) is None
    assert sampling.gpu_utilization(SAMPLES, []) is None


def test_memory_counts_at_any_time() -> None:
    assert sampling.gpu_memory(SAMPLES) == 0.9
    assert sampling.gpu_memory([Sample(0.0)]) is None
    assert sampling.peak_rss_mb(SAMPLES) == 4.5


def test_busy_cores_are_processor_time_by_wall_time_within_the_spans() -> None:
    assert sampling.cores_busy(SAMPLES, [(1.0, 4.0)]) == pytest.approx(2.0)
    assert sampling.cores_busy(SAMPLES, [(1.0, 2.0)]) is None
    assert sampling.cores_busy([Sample(1.0), Sample(2.0)], [(0.0, 3.0)]) is None
