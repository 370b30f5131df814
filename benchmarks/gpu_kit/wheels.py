"""Which wheels the kit holds, and which of them a machine lacks: `python wheels.py WHEELS TARGET`, on that machine.

Standard library alone, and pip. What is missing there goes into a folder of its own; nothing that the machine has is
touched. What can't be had for its Python is named in a line, and gpu.py leaves out what needs it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A package.

    Attributes:
        package: Its name on the index.
        module: What is imported.
        exact: Whether another version than the kit's is as good as none.
        large: In the kit for one version of Python alone, where it is built for one.
    """

    package: str
    module: str
    exact: bool = False
    large: bool = False


WHEELS = (
    Wheel("hydra-core", "hydra", exact=True),
    Wheel("omegaconf", "omegaconf", exact=True),
    Wheel(
        "antlr4-python3-runtime", "antlr4", exact=True
    ),  # 4.9 reads what Hydra's and OmegaConf's grammars were made with
    Wheel("pyyaml", "yaml"),
    Wheel("packaging", "packaging"),
    Wheel("tqdm", "tqdm"),
    Wheel("simplejpeg", "simplejpeg"),
    Wheel("nvidia-ml-py", "pynvml"),
    # a bundle; onnxruntime-gpu brings the same module, and is left alone
    Wheel("onnxruntime", "onnxruntime", large=True),
    Wheel("flatbuffers", "flatbuffers"),
    Wheel("protobuf", "google.protobuf"),
    # the service
    Wheel("httptools", "httptools"),
    Wheel("multipart", "multipart", exact=True),  # python-multipart once had a module of this name
    Wheel("orjson", "orjson"),
    Wheel("prometheus-client", "prometheus_client"),
    Wheel("uvloop", "uvloop", large=True),
)


def main() -> int:
    """Install what is missing here into a folder of its own."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    files: dict[str, list[Path]] = {wheel.package: [] for wheel in WHEELS}
    for file in sorted(folder.glob("*.whl")):
        files[file.name.split("-")[0].replace("_", "-").lower()].append(file)
    lacking = [wheel for wheel in WHEELS if is_missing(wheel, files[wheel.package])]
    chosen = {one.package: next((file for file in files[one.package] if fits(file.name)), None) for one in lacking}
    fitting = [file for file in chosen.values() if file is not None]
    if fitting:
        words = [
            "--no-index",
            "--find-links",
            str(folder),
            "--no-deps",
            "--no-compile",
            "--upgrade",
            "--target",
            str(target),
        ]
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}  # a folder of its own harms no system
        status = subprocess.run([*pip, *words, *map(str, fitting)], check=False, env=environment).returncode
        if status:
            return status
    print(f"from the kit: {', '.join(file.name.split('-')[0] for file in fitting) or 'nothing, all is there'}")
    if left := [package for package, file in chosen.items() if file is None]:
        here = f"Python {sys.version_info.major}.{sys.version_info.minor} on {platform.machine()}"
        print(f"no wheel in the kit for {here}: {', '.join(left)}; what needs them is left out")
    return 0


def is_missing(wheel: Wheel, files: list[Path]) -> bool:
    """Whether this machine lacks it."""
    try:
        there = find_spec(wheel.module) is not None
    except ModuleNotFoundError:  # of google.protobuf the first half
        there = False
    if not there or not wheel.exact or not files:
        return not there
    try:
        return metadata.version(wheel.package) != files[0].name.split("-")[1]
    except metadata.PackageNotFoundError:
        return True


def fits(name: str, version: tuple[int, int] = sys.version_info[:2], machine: str = platform.machine()) -> bool:
    """Whether a wheel is for this Python and this machine, by its name: `…-cp312-cp312-manylinux_2_28_x86_64.whl`."""
    python, abi, where = name.removesuffix(".whl").split("-")[-3:]
    if where != "any" and not (sys.platform == "linux" and machine in where):
        return False
    if "py3" in python.split("."):
        return True
    own, least = f"cp{version[0]}{version[1]}", python.removeprefix(f"cp{version[0]}")
    return python == own if abi != "abi3" else least.isdigit() and int(least) <= version[1]


if __name__ == "__main__":
    sys.exit(main())
