"""Where a result comes from: code, versions, hardware, command."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mlstack.utils.hardware import cpu_name, total_memory, usable_cores

PACKAGES = (
    *("torch", "torchvision", "pytorch-lightning", "paddlepaddle", "paddlepaddle-gpu"),
    *("hydra-core", "numpy", "pillow"),
)


def provenance(packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
    """Everything that identifies how a run was made, as plain values for results.json."""
    return {
        "command": " ".join(sys.argv),
        "git": git_state(),
        "versions": {"python": platform.python_version(), **installed_versions(packages)},
        "hardware": {
            "cpu": cpu_name(),
            "cores": usable_cores(),
            "memory_gb": round(total_memory() / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def installed_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of the packages that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path = Path(__file__).parent) -> dict[str, Any]:
    """Commit of the code and whether it has uncommitted changes; in an image the commit that it was built from.

    Empty outside a git checkout and outside of our images (deploy/cpu/Dockerfile sets MLSTACK_COMMIT).
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        built_from = os.environ.get("MLSTACK_COMMIT", "unknown")
        return {} if built_from == "unknown" else {"commit": built_from}
