"""The other processes of a run on several devices: the same command again, with what Paddle's launcher would tell them.

`python -m paddle.distributed.launch --nproc_per_node N scripts/train.py …` works too. Started without it, this process
is rank 0 itself, so that progress, Ctrl-C and the exit status are those of the command that was typed, and no
`log/workerlog.N` is left in the working directory.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from mlstack.config import TrainerConfig
from mlstack.engines.paddle.devices import connect, disconnect, is_launched
from mlstack.errors import MLStackError
from mlstack.runs import announced_run
from mlstack.utils.console import say
from mlstack.utils.processes import end_with_parent

PARENT_VARIABLE = "MLSTACK_PARENT"  # process number of rank 0, in those that it has started
WATCHED_EVERY = 0.5  # seconds
GRACE = 60  # seconds that the other ranks have to end after rank 0


@contextmanager
def joined(trainer: TrainerConfig, ranks: int) -> Iterator[None]:
    """All processes of a run, connected; started here where nobody else has."""
    if ranks == 1:
        yield
        return
    others: list[subprocess.Popen[bytes]] = []
    before = dict(os.environ)
    if not is_launched():
        others = _start(ranks)
    elif PARENT_VARIABLE in os.environ:
        end_with_parent(int(os.environ[PARENT_VARIABLE]))
    try:
        connect(trainer.accelerator)
        yield
        disconnect()
        _await(others)
    finally:
        for other in others:
            other.kill()
        os.environ.clear()
        os.environ.update(before)


def environment(rank: int, endpoints: list[str]) -> Mapping[str, str]:
    """What `paddle.distributed.launch` tells the process of a rank on one machine."""
    ranks = str(len(endpoints))
    return {
        "PADDLE_TRAINER_ID": str(rank),
        "PADDLE_RANK_IN_NODE": str(rank),
        "PADDLE_TRAINERS_NUM": ranks,
        "PADDLE_LOCAL_SIZE": ranks,
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
        "PADDLE_CURRENT_ENDPOINT": endpoints[rank],
        "PADDLE_MASTER": endpoints[0],
        "FLAGS_selected_gpus": str(rank),
    }


def _start(ranks: int) -> list[subprocess.Popen[bytes]]:
    endpoints = [f"127.0.0.1:{port}" for port in _free_ports(ranks)]
    shared = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
    others = [
        subprocess.Popen([sys.executable, *sys.argv], env={**shared, **environment(rank, endpoints)})
        for rank in range(1, ranks)
    ]
    os.environ.update(environment(0, endpoints))
    threading.Thread(target=_watch, args=(others,), daemon=True).start()
    return others


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _watch(others: list[subprocess.Popen[bytes]]) -> None:
    """A rank that fails would leave all others waiting for it for ever: end the whole run."""
    while None in (codes := [other.poll() for other in others]) or any(codes):
        failed = [code for code in codes if code]
        if failed and failed[0] in (128 + signal.SIGTERM, 128 + signal.SIGINT):  # all ranks are stopping
            return
        if failed:
            reason = f"another process of this run ended with status {failed[0]}"
            say(f"error: {reason}; what it said stands above")
            for other in others:
                other.kill()
            _record_failure(reason)
            os._exit(1)
        time.sleep(WATCHED_EVERY)


def _record_failure(reason: str) -> None:
    """Write it into results.json: nobody else will, as the main thread waits for the lost process for ever."""
    if (run := announced_run()) is not None:
        with suppress(MLStackError):
            run.update_results(status="failed", error=reason)


def _await(others: list[subprocess.Popen[bytes]]) -> None:
    for other in others:
        try:
            other.wait(GRACE)
        except subprocess.TimeoutExpired:
            say("warning     another process of this run does not end; it is killed")
