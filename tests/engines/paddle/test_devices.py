"""What Paddle is asked about a machine. What follows from the answers: tests/engines/test_devices.py."""

from __future__ import annotations

import mlstack.models.paddle.quiet  # noqa: F401  it imports paddle quietly

# isort: split
import paddle
import pytest

from mlstack.config import TrainerConfig
from mlstack.engines.paddle.devices import device_name, machine, rank, set_device, world_size

pytestmark = pytest.mark.framework


def pretend(monkeypatch: pytest.MonkeyPatch, *, gpus: int, bf16: bool = True) -> None:
    """Put devices into this machine."""
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.version, "cuda", lambda: "12.6")
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(paddle.device.cuda, "get_device_name", lambda device=None: "Old GPU")
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: bf16)


def test_gpus_are_counted_and_asked_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2)
    assert (machine().gpus, machine().gpu_without_bf16) == (2, None)
    assert machine().build.endswith("is built for CUDA 12.6")
    assert world_size(TrainerConfig(devices=-1)) == 2
    pretend(monkeypatch, gpus=1, bf16=False)
    assert machine().gpu_without_bf16 == "Old GPU"


def test_a_device_has_a_name_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_name(set_device("cpu")) == "cpu"
    pretend(monkeypatch, gpus=1)
    assert device_name("gpu:0") == "Old GPU"


def test_paddles_launcher_decides_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PADDLE_TRAINER_ID": "2",  # the third of four, two on each machine
        "PADDLE_TRAINERS_NUM": "4",
        "PADDLE_LOCAL_SIZE": "2",
        "PADDLE_TRAINER_ENDPOINTS": "a:1,a:2,b:1,b:2",
    }.items():
        monkeypatch.setenv(name, value)
    assert machine().launched == 2
    assert (rank(), world_size(TrainerConfig())) == (2, 4)
