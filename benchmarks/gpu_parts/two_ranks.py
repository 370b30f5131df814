"""Two ranks share a training: through NCCL where there are two cards, else both on one card, through gloo.

The global batch is that of the one rank, and a network without batch norm, so that the weights have to come out alike
but for rounding. Speed is compared too; on one shared card it says only that nothing hangs.
"""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpu_parts._one_run import Request, checkpoint, differences, start, waited
from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter

CLOSE = 1e-2  # relative to the largest weight of a tensor, after `STEPS` steps of SGD in fp32: order of summation alone
STEPS = 20


def measure(rows: RowWriter, place: Place) -> None:
    """One rank, then two."""
    cards = 0 if place.dry else torch.cuda.device_count()
    backend = "nccl" if cards > 1 else "gloo"
    where = f"{backend}, " + ("the CPU" if place.dry else "a card each" if cards > 1 else "sharing one card")
    batch = 32 if place.dry else 256
    one = request(place, "one", batch)
    two = replace(request(place, "two", batch // 2), gloo=backend == "gloo")
    waited({"one": start(one)}, place.folder)
    with rows.attempt(f"two ranks, {where}"):
        waited(start_ranks(two, cards), place.folder)
        speeds = [result(Path(made.folder))["images_per_second"] for made in (one, two)]
        rows.add(f"two ranks, {where}", speeds[1], "images/s", ratio=speeds[1] / speeds[0], against="one rank")
    with rows.attempt("their weights against one rank's"):
        weights = [checkpoint(Path(made.folder))["state_dict"] for made in (one, two)]
        most = max((amount for _, amount in differences(*weights)), default=0.0)
        verdict = "within rounding" if most <= CLOSE else "TOO FAR: a batch, a gradient or a seed is not shared rightly"
        rows.add("their weights against one rank's", most, "relative", note=f"after {STEPS} steps: {verdict}")
    with rows.attempt("shared batch-norm statistics"):
        if cards < 2:
            place.need_gpu("needs two cards")
            rows.skip("shared batch-norm statistics", "needs two cards, one is here")
            return
        shared = replace(two, folder=str(place.folder / "norm"), words=[*two.words, "model.args.norm=true"])
        shared = replace(shared, words=[*shared.words, "trainer.sync_batchnorm=true"])
        waited(start_ranks(shared, cards), place.folder)
        rows.add("shared batch-norm statistics", result(Path(shared.folder))["images_per_second"], "images/s")


def request(place: Place, name: str, batch: int) -> Request:
    """A training of `STEPS` steps; `batch` a rank."""
    words = [
        "model.target=gpu_parts._networks:plain",
        "model.optimizer=sgd",
        "model.learning_rate=0.01",
        f"data.batch_size={batch}",
        f"trainer.accelerator={place.accelerator}",
        "trainer.max_epochs=1",
        "trainer.limit_val_batches=0",
        "trainer.progress_bar=false",
        "tracker=none",
    ]
    return Request(str(place.folder / name), words, pictures=STEPS * (32 if place.dry else 256))


def start_ranks(request: Request, cards: int) -> dict[str, subprocess.Popen[bytes]]:
    """Two processes with what a launcher would tell them: of one machine with two cards, or of two with the same one.

    No torchrun here: it gives its children sessions of their own, which would outlive a part that is stopped.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    request = replace(request, words=[*request.words, "trainer.strategy=ddp"])
    processes = {}
    for rank in range(2):
        local = {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "NODE_RANK": "0", "GROUP_RANK": "0"}
        if cards == 1:
            local = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "NODE_RANK": str(rank), "GROUP_RANK": str(rank)}
        processes[f"{Path(request.folder).name}#{rank}"] = start(request, RANK=str(rank), **shared, **local)
    return processes


def result(folder: Path) -> dict[str, Any]:
    """What the engine said of a training."""
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    run_part(measure)
