"""What an image holds, printed as JSON. This text is given to the Python inside an image, so it needs nothing but that:

docker run --rm -i --entrypoint python ml-cpu:latest - < src/mlstack/validation/probe.py
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

LISTED = 12  # packages
CUDA_LIBRARY = re.compile(r"lib(cuda|cudart|cudnn|cublas|nvrtc|nccl)[\w.-]*\.so")


def probe() -> dict[str, Any]:
    """Devices, frameworks that see a GPU, CUDA libraries, sizes of packages in MB, user."""
    return {
        "devices": sorted(str(path) for path in Path("/dev").iterdir() if path.name.startswith(("nvidia", "dri"))),
        "frameworks_with_gpu": [name for name, sees in (("torch", torch_sees), ("paddle", paddle_sees)) if sees()],
        "broken_frameworks": broken_frameworks(),
        "cuda_libraries": sorted(cuda_libraries()),
        "packages_mb": package_sizes(),
        "python": sys.version.split()[0],
        "user": os.getuid(),
    }


def torch_sees() -> bool:
    torch = module("torch")
    return torch is not None and bool(torch.cuda.is_available())


def paddle_sees() -> bool:
    paddle = module("paddle")
    return paddle is not None and paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0


def broken_frameworks() -> dict[str, str]:
    """Installed frameworks that can't be imported, with the reason: a system library that the image lacks."""
    broken = {}
    for name in ("torch", "paddle"):
        if importlib.util.find_spec(name) is not None:
            try:
                importlib.import_module(name)
            except ImportError as error:
                broken[name] = str(error)
    return broken


def module(name: str) -> Any:
    """A framework, or None where the image has none that works."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def cuda_libraries() -> set[str]:
    """Names of CUDA's libraries anywhere that Python or the linker looks."""
    found: set[str] = set()
    for folder in {*filter(os.path.isdir, sys.path), "/usr/lib", "/usr/local/lib", "/usr/local/cuda"}:
        for _, _, names in os.walk(folder):
            found.update(name for name in names if CUDA_LIBRARY.match(name))
    return found


def package_sizes() -> dict[str, float]:
    """The largest packages and the rest, in MB, by the files that each says are its own."""
    sizes: dict[str, int] = {}
    for package in importlib.metadata.distributions():
        paths = (Path(str(package.locate_file(file))) for file in package.files or ())
        name = package.metadata["Name"]
        sizes[name] = sizes.get(name, 0) + sum(path.stat().st_size for path in paths if path.is_file())
    ordered = sorted(sizes, key=lambda name: -sizes[name])
    listed = {name: round(sizes[name] / 1e6, 1) for name in ordered[:LISTED]}
    return {**listed, f"{len(ordered[LISTED:])} others": round(sum(sizes[name] for name in ordered[LISTED:]) / 1e6, 1)}


if __name__ == "__main__":
    print(json.dumps(probe()))
