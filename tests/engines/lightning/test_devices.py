"""What torch is asked about a machine. What follows from the answers: tests/engines/test_devices.py."""

from __future__ import annotations

import pytest
import torch

from mlstack.config import TrainerConfig
from mlstack.engines.lightning.devices import device_name, devices_and_nodes, machine, torch_device, world_size

pytestmark = pytest.mark.framework


def pretend(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, bf16: bool = True, mps: bool = False) -> None:
    """Put devices into this machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Old GPU")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_gpus_are_counted_and_asked_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2)
    assert (machine().gpus, machine().mps, machine().gpu_without_bf16) == (2, False, None)
    pretend(monkeypatch, gpus=1, bf16=False)
    assert machine().gpu_without_bf16 == "Old GPU"
    pretend(monkeypatch, mps=True)
    assert (machine().gpus, machine().mps) == (0, True)


def test_a_device_has_a_name_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=1)
    assert torch_device("auto") == torch.device("cuda")
    assert torch_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu")) == "cpu"
    assert device_name(torch.device("cuda")) == "Old GPU"


def test_torchrun_decides_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": "2",  # the third of four, two on each machine
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    assert machine().launched == 2
    assert devices_and_nodes(TrainerConfig()) == (2, 2)
    assert world_size(TrainerConfig()) == 4


def test_without_a_launcher_the_settings_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices_and_nodes(TrainerConfig(devices=3)) == (3, 1)
    assert world_size(TrainerConfig(devices=3, lightning={"num_nodes": 2})) == 6
    pretend(monkeypatch, gpus=2)
    assert world_size(TrainerConfig(devices=-1)) == 2
