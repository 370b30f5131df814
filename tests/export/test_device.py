from __future__ import annotations

from pathlib import Path

import pytest

from mlstack.errors import ConfigError
from mlstack.export.device import DEVICES, read_device

SHIPPED = sorted(path.stem for path in DEVICES.glob("*.yaml"))
OWN = "title: Mine\nmemory_mb: 512\nprocessor: Arm\ncores: 2\ntarget: onnx\nprecisions: [int8]\n"


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_device_is_read_is_short_and_names_its_source(name: str) -> None:
    device = read_device(name)
    lines = (DEVICES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert device.name == name
    assert device.title
    assert device.threads >= 1
    assert len(lines) <= 12
    assert lines[0].startswith(("# https://", "# No product"))


def test_the_devices_that_people_ask_for_are_there() -> None:
    assert {"jetson-nano", "jetson-orin-nano", "raspberry-pi-4", "raspberry-pi-5", "generic-x86"} <= set(SHIPPED)


def test_an_unknown_device_gets_the_list_and_the_nearest() -> None:
    with pytest.raises(ConfigError, match="target=jetsn-nano: no device of that name") as error:
        read_device("jetsn-nano")
    assert error.value.allowed == tuple(SHIPPED)
    assert "did you mean target=jetson-nano" in error.value.hint


def test_a_device_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN)
    device = read_device(str(path))
    assert (device.name, device.title, device.memory_mb, device.threads) == ("mine", "Mine", 512, 2)


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("memory_mb", "memory_gb", "there is no key memory_gb", "did you mean memory_mb?"),
        ("cores: 2\n", "", "cores is missing", "title"),
        ("memory_mb: 512", "memory_mb: lots", "memory_mb=lots has to be a whole number", ""),
        ("memory_mb: 512", "memory_mb: true", "memory_mb=True has to be a whole number", ""),
        ("target: onnx", "target: magic", "target=magic has to be one of onnx, openvino", ""),
        ("[int8]", "[int4]", r"precisions=\['int4'\] has to be a list of some of fp32", ""),
        ("title: Mine", "title: [", "can't be read as YAML", ""),
        (OWN, "- a\n", "is not a list of keys with values", ""),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(
    tmp_path: Path, old: str, new: str, message: str, hint: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigError, match=message) as error:
        read_device(str(path))
    assert str(path) in error.value.message
    assert hint in error.value.hint
