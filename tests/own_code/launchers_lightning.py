"""How processes of this engine are started by torch's own launcher."""

from __future__ import annotations

from pathlib import Path

TORCHRUN = ["-m", "torch.distributed.run"]


def of_two_machines(python: str, rank: int, *, port: int, folder: Path) -> list[str]:
    """The launcher on one of two machines with a process each."""
    return [
        *(python, *TORCHRUN, "--nnodes", "2", "--node_rank", str(rank), "--nproc_per_node", "1"),
        *("--master_addr", "127.0.0.1", "--master_port", str(port)),
    ]


def of_two_processes(python: str, *, port: int, folder: Path) -> list[str]:
    """The launcher of two processes on this machine."""
    return [python, *TORCHRUN, "--nproc_per_node", "2", "--master_port", str(port)]
