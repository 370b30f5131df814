from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from mlstack.config import TrainerConfig
from mlstack.engines import create_engine
from mlstack.engines import devices as module
from mlstack.engines.devices import Machine, check_devices, launched_devices, resolve_accelerator
from mlstack.errors import HardwareError

CPU = Machine(gpus=0, build="a build without CUDA", launcher="launch -n")
APPLE = replace(CPU, mps=True)
GPU = replace(CPU, gpus=1)
GPUS = replace(CPU, gpus=2)


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 4)


def check(machine: Machine, **settings: Any) -> None:
    check_devices(TrainerConfig(**settings), machine)


def refused(machine: Machine, **settings: Any) -> str:
    with pytest.raises(HardwareError) as caught:
        check(machine, **settings)
    assert len(str(caught.value).splitlines()) <= 8
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message", "advice"),
    [
        ({"precision": "16"}, "trainer.precision=16 needs a GPU", "trainer.precision=bf16"),
        ({"accelerator": "gpu"}, "trainer.accelerator=gpu: no GPU is there (a build", "trainer.accelerator=cpu"),
        ({"accelerator": "gpu", "devices": 4}, "trainer.accelerator=gpu: no GPU is there", "scripts/check_env.py"),
        ({"devices": 5}, "trainer.devices=5: no GPU is there", "trainer.devices=1"),
        ({"devices": 5}, "trainer.devices=5", "trainer.accelerator=cpu trainer.devices=5 trainer.strategy=ddp"),
        ({"devices": -1}, "trainer.devices=-1: no GPU is there", "trainer.devices=1"),
        ({"accelerator": "cpu", "devices": -1}, "trainer.devices=-1", "trainer.devices=1"),
        ({"accelerator": "mps"}, "no Apple GPU is there", "trainer.accelerator=auto"),
    ],
)
def test_what_a_machine_without_a_gpu_lacks_is_refused_with_what_to_type(
    settings: dict[str, Any], message: str, advice: str
) -> None:
    text = refused(CPU, **settings)
    assert message in text
    assert advice in text


def test_more_gpus_than_there_are_is_refused() -> None:
    check(GPUS, devices=2)
    assert refused(GPUS, devices=4) == "trainer.devices=4: only 2 GPUs are there\ntype trainer.devices=2"
    assert "only 1 GPU is there" in refused(GPU, devices=4)


def test_bfloat16_on_a_gpu_without_it_is_refused() -> None:
    old = replace(GPU, gpu_without_bf16="Old GPU")
    assert (
        refused(old, precision="bf16") == "trainer.precision=bf16: Old GPU has no bfloat16\ntype trainer.precision=16"
    )
    check(old, precision="16")


def test_float64_on_an_apple_gpu_is_refused() -> None:
    assert "type trainer.precision=32" in refused(APPLE, precision="64")


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert resolve_accelerator("auto", CPU) == "cpu"
    assert resolve_accelerator("auto", APPLE) == "mps"
    assert resolve_accelerator("auto", replace(APPLE, gpus=1)) == "gpu"


@pytest.mark.parametrize("settings", [{}, {"accelerator": "cpu", "devices": 2}, {"precision": "bf16"}])
def test_what_a_cpu_can_do_passes_in_silence(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    check(CPU, **settings)
    assert resolve_accelerator(settings.get("accelerator", "auto"), CPU) == "cpu"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("devices", [2, 4])
def test_without_a_gpu_as_many_processes_as_there_are_cores_for_share_the_work(
    devices: int, capsys: pytest.CaptureFixture[str]
) -> None:
    check(CPU, devices=devices)
    told = f"warning     no GPU is there: {devices} CPU processes share the work\n"
    assert capsys.readouterr().out == told


def test_more_processes_than_cores_get_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    check(CPU, accelerator="cpu", devices=5)
    assert "warning     5 processes share 4 cores" in capsys.readouterr().out


def test_only_one_of_several_processes_warns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    check(CPU, devices=2)
    check(CPU, accelerator="cpu", devices=5)
    assert capsys.readouterr().out == ""


def test_a_launcher_decides_how_many_processes_there_are() -> None:
    launched = replace(CPU, launched=2)
    assert [launched_devices(TrainerConfig(devices=devices), launched) for devices in (1, 2, -1)] == [2, 2, 2]
    check(launched, accelerator="auto")
    assert refused(launched, accelerator="cpu", devices=8).endswith("or start with: launch -n 8")


@pytest.mark.framework
def test_an_engine_says_what_its_framework_sees(engine: str) -> None:
    create_engine(engine)  # it imports its framework as that has to be imported
    machine = importlib.import_module(f"mlstack.engines.{engine}.devices").machine()
    assert machine.launched is None
    assert ("built for CUDA" in machine.build) or machine.build.endswith("is a build without CUDA")
    assert "nproc_per_node" in machine.launcher


@pytest.mark.framework
def test_without_a_launcher_the_settings_decide(engine: str, configure: Any) -> None:
    config, own = configure(trainer__devices=3), create_engine(engine)
    assert own.world_size(config) == 3
    assert own.share(config, "the folder") == "the folder"
