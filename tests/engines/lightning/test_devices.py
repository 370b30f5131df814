from __future__ import annotations

from typing import Any

import pytest
import torch

from mlstack.config import Config, TrainerConfig
from mlstack.engines.lightning.devices import (
    check_devices,
    device_name,
    devices_and_nodes,
    resolve_accelerator,
    share_text,
    torch_device,
    world_size,
)
from mlstack.errors import HardwareError

pytestmark = pytest.mark.framework


class Machine:
    """Devices that a test can put into this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpus, self.bf16, self.mps = 0, True, False
        monkeypatch.setattr(torch.cuda, "is_available", lambda: self.gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: self.gpus)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: self.bf16)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Old GPU")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: self.mps)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def check(**settings: Any) -> None:
    check_devices(Config(trainer=TrainerConfig(**settings)))


def refused(**settings: Any) -> str:
    with pytest.raises(HardwareError) as caught:
        check(**settings)
    assert len(str(caught.value).splitlines()) <= 8
    return str(caught.value)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("settings", "message", "advice"),
    [
        ({"precision": "16"}, "trainer.precision=16 needs a GPU", "trainer.precision=bf16"),
        ({"accelerator": "gpu"}, "trainer.accelerator=gpu: no GPU is there", "trainer.accelerator=cpu"),
        ({"accelerator": "gpu", "devices": 4}, "trainer.accelerator=gpu: no GPU is there", "scripts/check_env.py"),
        ({"devices": 4}, "trainer.devices=4: no GPU is there", "trainer.devices=1"),
        ({"devices": 4}, "trainer.devices=4", "trainer.accelerator=cpu trainer.devices=4 trainer.strategy=ddp"),
        ({"devices": -1}, "trainer.devices=-1: no GPU is there", "trainer.devices=1"),
        ({"accelerator": "cpu", "devices": -1}, "trainer.devices=-1", "trainer.devices=1"),
        ({"accelerator": "mps"}, "no Apple GPU is there", "trainer.accelerator=auto"),
    ],
)
def test_what_a_machine_without_a_gpu_lacks_is_refused_with_what_to_type(
    settings: dict[str, Any], message: str, advice: str
) -> None:
    text = refused(**settings)
    assert message in text
    assert advice in text


def test_more_gpus_than_there_are_is_refused(machine: Machine) -> None:
    machine.gpus = 2
    check(devices=2)
    assert refused(devices=4) == "trainer.devices=4: only 2 GPUs are there\ntype trainer.devices=2"
    machine.gpus = 1
    assert "only 1 GPU is there" in refused(devices=4)


def test_bfloat16_on_a_gpu_without_it_is_refused(machine: Machine) -> None:
    machine.gpus, machine.bf16 = 1, False
    assert refused(precision="bf16") == "trainer.precision=bf16: Old GPU has no bfloat16\ntype trainer.precision=16"
    check(precision="16")


def test_float64_on_an_apple_gpu_is_refused(machine: Machine) -> None:
    machine.mps = True
    assert "type trainer.precision=32" in refused(precision="64")


def test_auto_takes_the_gpu_where_there_is_one(machine: Machine) -> None:
    assert resolve_accelerator("auto") == "cpu"
    machine.mps = True
    assert resolve_accelerator("auto") == "mps"
    machine.gpus = 1
    assert resolve_accelerator("auto") == "gpu"
    assert torch_device("auto") == torch.device("cuda")


@pytest.mark.usefixtures("machine")
def test_a_device_has_a_name_in_words() -> None:
    assert torch_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu")) == "cpu"
    assert device_name(torch.device("cuda")) == "Old GPU"


@pytest.mark.parametrize("settings", [{}, {"accelerator": "cpu", "devices": 2}, {"precision": "bf16"}])
@pytest.mark.usefixtures("machine")
def test_what_a_cpu_can_do_passes(settings: dict[str, Any]) -> None:
    check(**settings)
    assert resolve_accelerator(settings.get("accelerator", "auto")) == "cpu"


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a process that torchrun started: the third of four, two on each machine."""
    for name, value in {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": "2",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("torchrun", "machine")
def test_a_launcher_decides_how_many_processes_there_are() -> None:
    assert devices_and_nodes(TrainerConfig()) == (2, 2)
    assert world_size(TrainerConfig()) == 4
    check(accelerator="auto")
    assert "torchrun --nproc_per_node 8" in refused(accelerator="cpu", devices=8)


@pytest.mark.usefixtures("machine")
def test_without_a_launcher_the_settings_decide() -> None:
    assert devices_and_nodes(TrainerConfig(devices=3)) == (3, 1)
    assert world_size(TrainerConfig(devices=3, lightning={"num_nodes": 2})) == 6
    assert share_text("the folder", "cpu") == "the folder"


@pytest.mark.usefixtures("machine")
def test_more_processes_than_cores_get_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    check(accelerator="cpu", devices=500)
    assert "warning     500 processes share" in capsys.readouterr().out
    check(accelerator="cpu", devices=1)
    assert capsys.readouterr().out == ""
