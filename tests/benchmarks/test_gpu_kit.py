"""What goes into the kit of `make gpu-kit`, and what a machine takes out of it; no network, and no framework."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from _photographs import photograph_files
from gpu_kit import pack, wheels
from gpu_kit.wheels import WHEELS, Wheel, fits, is_missing


def test_each_wheel_of_the_kit_has_a_pin_in_the_requirements() -> None:
    pinned = pack.pinned(pack.read_all_pins())
    assert len(pinned) == len(WHEELS)
    assert any(one.startswith("hydra-core==") for one in pinned)
    assert {one.partition("==")[0] for one in pack.pinned(pack.read_all_pins(), large=True)} == {
        "onnxruntime",
        "uvloop",
    }


def test_the_kit_holds_the_code_and_what_starts_it_and_no_more() -> None:
    members = dict(pack.code())
    assert {"src/mlstack/__init__.py", "scripts/validate.py", "configs/config.yaml", "requirements-cpu.txt"} <= set(
        members
    )
    assert {"benchmarks/gpu.py", "benchmarks/gpu_parts/input.py", "run.sh", "README.txt", "COMMIT"} <= set(members)
    folders = {name.split("/")[0] for name in members if "/" in name}
    assert folders == {"src", "scripts", "configs", "benchmarks"}
    assert not any("serving/peers" in name for name in members if name.startswith("benchmarks/"))


def test_the_same_files_make_the_same_archive_in_whatever_order_they_come() -> None:
    members = [("run.sh", b"#!/bin/sh\n"), ("src/one.py", b"1\n"), ("COMMIT", b"abc\n")]
    archive = pack.packed(members)
    assert archive == pack.packed(members[::-1])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["gpu-kit/COMMIT", "gpu-kit/run.sh", "gpu-kit/src/one.py"]
        assert {member.name: member.mode for member in tar}["gpu-kit/run.sh"] == 0o755
        assert {(member.uid, member.uname, member.mtime) for member in tar} == {(0, "", pack.EPOCH)}


def test_the_photographs_are_the_same_each_time() -> None:
    first, again = (dict(photograph_files(3, held_out=2)) for _ in range(2))
    assert first == again
    assert sorted(name.split("/")[0] for name in first) == ["test", "train", "train", "train", "val"]


@pytest.mark.parametrize(
    ("name", "version", "machine", "fitting"),
    [
        ("hydra_core-1.3.8-py3-none-any.whl", (3, 13), "aarch64", True),
        ("flatbuffers-25.12.19-py2.py3-none-any.whl", (3, 11), "x86_64", True),
        ("orjson-3.13.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 12), "x86_64", True),
        ("orjson-3.13.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 11), "x86_64", False),
        ("orjson-3.13.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 12), "aarch64", False),
        ("protobuf-7.36.2-cp310-abi3-manylinux2014_x86_64.whl", (3, 13), "x86_64", True),
        ("protobuf-7.36.2-cp313-abi3-manylinux2014_x86_64.whl", (3, 12), "x86_64", False),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="wheels for Linux fit nowhere else")
def test_a_wheel_is_taken_where_its_name_says_that_it_fits(
    name: str, version: tuple[int, int], machine: str, fitting: bool
) -> None:
    assert fits(name, version, machine) is fitting


def test_what_a_machine_has_is_left_alone_unless_only_one_version_will_do() -> None:
    there, other = Path("pytest-0.0.1-py3-none-any.whl"), Wheel("pytest", "pytest", exact=True)
    assert not is_missing(Wheel("pytest", "pytest"), [there])
    assert is_missing(other, [there])
    assert not is_missing(other, [Path(f"pytest-{pytest.__version__}-py3-none-any.whl")])
    assert is_missing(Wheel("nothing", "no_such_package.inside"), [])


def make_wheel(folder: Path, name: str, tag: str) -> None:
    """A wheel of one module that holds its own name."""
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as file:
        file.writestr(f"{name}.py", f"NAME = {name!r}\n")
        info = f"{name}-1.0.dist-info"
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        file.writestr(f"{info}/RECORD", "")


def test_missing_packages_go_into_a_folder_of_their_own_and_what_does_not_fit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_wheel(tmp_path, "kit_pure", "py3-none-any")
    for tag in ("cp36-cp36m-manylinux1_x86_64", "cp37-cp37m-manylinux1_x86_64"):
        make_wheel(tmp_path, "kit_old", tag)
    kit = (Wheel("kit-pure", "kit_pure"), Wheel("kit-old", "kit_old"), Wheel("pytest", "pytest"))
    monkeypatch.setattr(wheels, "WHEELS", kit)
    monkeypatch.setattr(sys, "argv", ["wheels.py", str(tmp_path), str(tmp_path / "site")])
    assert wheels.main() == 0
    said = capsys.readouterr().out
    assert "from the kit: kit_pure\n" in said
    assert "kit-old; what needs them is left out" in said
    assert (tmp_path / "site" / "kit_pure.py").is_file()


def test_the_kit_runs_from_the_folder_that_it_was_unpacked_to(tmp_path: Path) -> None:
    members = [member for member in pack.code() if not member[0].startswith(("scripts/", "configs/"))]
    with tarfile.open(fileobj=io.BytesIO(pack.packed(members))) as tar:
        tar.extractall(tmp_path, filter="data")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # it is a copy
    environment = {**inherited, "PYTHON": sys.executable, "PYTHONPATH": ""}
    command = ["sh", str(tmp_path / "gpu-kit" / "run.sh"), "--help"]
    answer = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "from the kit: nothing, all is there" in answer.stdout
    assert "Measure what only a GPU can show" in answer.stdout
