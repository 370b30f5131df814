"""How processes of this engine are started by Paddle's own launcher."""

from __future__ import annotations

from pathlib import Path

LAUNCH = ["-m", "paddle.distributed.launch", "--log_level", "ERROR"]


def of_two_machines(python: str, rank: int, *, port: int, folder: Path) -> list[str]:
    """The launcher on one of two machines with a process each."""
    return [
        *(python, *LAUNCH, "--nnodes", "2", "--rank", str(rank), "--nproc_per_node", "1"),
        *("--master", f"127.0.0.1:{port}", "--log_dir", str(folder / f"log_{rank}")),
    ]


def of_two_processes(python: str, *, port: int, folder: Path) -> list[str]:
    """The launcher of two processes on this machine."""
    return [python, *LAUNCH, "--nproc_per_node", "2", "--log_dir", str(folder / "log")]
