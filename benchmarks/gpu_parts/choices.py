"""What training choices cost or bring on a GPU: resnet50 at 224 pixels in bf16 on synthetic pictures.

EMA, accumulation, gradient checkpointing and `trainer=fast` through the engine, each with its peak memory; the
optimizer's step alone, fused and not; and how often a step makes the host wait for the GPU, which shall be never.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from gpu_parts._bare import milliseconds
from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter
from gpu_parts._training import Steady, made_up, settings, steady
from mlstack.datasets import Dataset
from mlstack.engines.lightning.optimizers import build_optimizer
from mlstack.models.pytorch import build_classifier

PLAIN = "as shipped"
WAYS = {
    PLAIN: (),
    "EMA": ("trainer.ema_decay=0.999",),
    "accumulation of 4 batches": ("trainer.accumulate_grad_batches=4",),
    "gradient checkpointing": ("model.gradient_checkpointing=true",),
    "trainer=fast": ("trainer=fast",),
}
WAITED = "called a synchronizing"  # of torch's warning; the rest of its words has changed


def measure(rows: RowWriter, place: Place) -> None:
    """One row for each choice."""
    batch, side = (2, 16) if place.dry else (128, 224)
    model = "model=small_cnn" if place.dry else "model=resnet50"
    dataset = made_up(place, side=side, batch=batch)
    words = (model, f"data.batch_size={batch}", f"trainer.precision={'32' if place.dry else 'bf16'}")
    title = f"{model.removeprefix('model=')} at {side} px, batch {batch}"
    found: dict[str, Steady] = {}
    for name, choice in WAYS.items():
        with rows.attempt(f"{title}: {name}"):
            found[name] = one = steady(place, dataset, *words, *choice)
            more: dict[str, Any] = {"details": one.details}
            if name != PLAIN and (plain := found.get(PLAIN)) is not None:
                memory = one.peak_mb / plain.peak_mb
                more = {"details": {**one.details, "memory_ratio": memory}}
                more |= {"ratio": one.images_per_second / plain.images_per_second, "against": PLAIN}
            rows.add(f"{title}: {name}", one.images_per_second, "images/s", note=one.note, **more)
    with rows.attempt("AdamW's step, fused"):
        optimizers(rows, place, dataset, words)
    with rows.attempt("waits for the GPU in a step"):
        place.need_gpu("there is no GPU to wait for")
        waits(rows, place, dataset, words)


def optimizers(rows: RowWriter, place: Place, dataset: Dataset, words: tuple[str, ...]) -> None:
    """Milliseconds of the optimizer's step alone."""
    config = settings(place, dataset, *words)
    took: dict[bool, float] = {}
    for fused in (False, True):
        network = build_classifier(config.model, config.data).to(place.device)
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        took[fused] = milliseconds(place, build_optimizer(config.model, network, fused=fused).step)
    rows.add("AdamW's step, not fused", took[False], "ms")
    rows.add("AdamW's step, fused", took[True], "ms", ratio=took[False] / took[True], against="not fused, in speed")


def waits(rows: RowWriter, place: Place, dataset: Dataset, words: tuple[str, ...]) -> None:
    """How often torch warns that the host waits, over the timed steps; the loss is read every 50th by default."""
    watching = False

    def switch() -> None:
        nonlocal watching
        watching = not watching
        torch.cuda.set_sync_debug_mode("warn" if watching else "default")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        one = steady(place, dataset, *words, "trainer.log_every_n_steps=1000000", on_edges=switch)
    places = sorted({f"{warning.filename}:{warning.lineno}" for warning in caught if WAITED in str(warning.message)})
    count = sum(WAITED in str(warning.message) for warning in caught)
    note = f"{count} in {one.turns} steps" + (f": {', '.join(places[:3])}" if places else "")
    rows.add("waits for the GPU in a step", count / one.turns, note=note, details={"places": places})


if __name__ == "__main__":
    run_part(measure)
