"""Our engine against a hand-written PyTorch loop: `python benchmarks/loop.py`, 4 minutes.

The same network (normalisation inside, channels_last), batches, fused AdamW, schedule and loss on both sides; one
thread, CPU seconds. The engine runs as shipped: metrics.csv, the TensorBoard tracker, loss and accuracy of training,
once with the default settings and once with `trainer=fast`. They take turns step by step: whenever the engine asks for
a batch, the hand-written loop takes a step of its own. So a busy moment of the machine meets both, and what lies
outside the steps (set-up, validation, checkpoints) is not counted.

Expect 0.85 × (default) and 0.93 × (fast) where the hand-written step takes 6 to 8 ms, 0.98 × where it takes 50 or more:
a millisecond or less a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from _loop import Comparison, Size, batches
from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.engines.schedules import schedule_factor
from mlstack.models.pytorch import build_classifier

SHORT_STEP = Size(("model.target=_cnn:cnn", "model.args.width=8"), batch=28, steps=400, bars=(0.85, 0.93))
LONG_STEP = Size(("model.target=_cnn:cnn", "model.args.width=16"), batch=176, steps=104, bars=(0.98, 0.98))
WAYS = {"mlstack": (), "mlstack, trainer=fast": ("trainer=fast",)}


def main() -> None:
    """Measure both step lengths and print a table of each."""
    torch.set_num_threads(1)
    Comparison(by_hand, WAYS, (SHORT_STEP, LONG_STEP)).run()


def by_hand(config: Config, dataset: Dataset, steps: int) -> Iterator[None]:
    """The least code that PyTorch needs; a step each time the next item is asked for."""
    network = build_classifier(config.model, config.data).train()
    rate, decay = config.model.learning_rate, config.model.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)
    schedule = LambdaLR(optimizer, partial(warmup_cosine, steps=steps, warmup=config.model.warmup_fraction))
    cross_entropy = nn.CrossEntropyLoss()
    loader = batches(config, dataset)
    for step in range(steps):
        batch = loader.batch(0, step)
        loss = cross_entropy(network(torch.from_numpy(batch.images)), torch.from_numpy(batch.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield


def warmup_cosine(step: int, *, steps: int, warmup: float) -> float:
    """The factor of `step`, as on the other side."""
    return schedule_factor("warmup_cosine", step, total_steps=steps, steps_per_epoch=steps, warmup_fraction=warmup)


if __name__ == "__main__":
    main()
