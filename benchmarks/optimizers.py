"""What an optimizer's step costs: `python benchmarks/optimizers.py`, 2 minutes.

resnet18 with the small-image stem (11.2 million parameters), one thread, CPU milliseconds; the optimizers take turns on
the same gradients. The reference is a whole training step without them: forward and backward at batch 64 of 32 × 32
pixels in colour. No bar is set; expect 1 % for fused AdamW and SGD, 1.5 % for AdamW not fused, 25 % for Muon,
whose cost is the same for every size of batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from _timing import interleave, keep_memory
from mlstack.config import DataConfig, ModelConfig
from mlstack.engines.lightning.optimizers import build_optimizer
from mlstack.models.pytorch import build_classifier

BATCH, ROUNDS = 64, 15
CLASSES, SIDE, CHANNELS = 10, 32, 3


@dataclass(frozen=True)
class Way:
    """An optimizer and whether it is fused."""

    settings: dict[str, Any]
    fused: bool = True


WAYS = {
    "adamw, not fused": Way({"optimizer": "adamw"}, fused=False),
    "adamw": Way({"optimizer": "adamw"}),
    "sgd with momentum": Way({"optimizer": "sgd", "optimizer_args": {"momentum": 0.9, "nesterov": True}}),
    "muon": Way({"optimizer": "muon"}),
}


def main() -> None:
    """Time all in turns and print a table."""
    torch.set_num_threads(1)
    keep_memory()
    data = DataConfig(
        classes=[str(number) for number in range(CLASSES)],
        image_size=SIDE,
        channels=CHANNELS,
        mean=[0.5] * CHANNELS,
        std=[0.25] * CHANNELS,
    )
    network = build_classifier(ModelConfig(name="resnet18"), data).train()
    gradients = gradients_of(network)
    contenders = {"forward and backward": gradients, **{name: step_of(network, way) for name, way in WAYS.items()}}
    gradients()
    milliseconds = {name: 1e3 * median(times) for name, times in interleave(contenders, ROUNDS).items()}
    print_costs(milliseconds)


def gradients_of(network: nn.Module) -> Callable[[], None]:
    """A function that computes the gradients of one made-up batch."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH, SIDE, SIDE, CHANNELS), dtype=torch.uint8, generator=random)
    labels, loss = torch.arange(BATCH) % CLASSES, nn.CrossEntropyLoss()

    def compute() -> None:
        network.zero_grad()
        loss(network(images), labels).backward()

    return compute


def step_of(network: nn.Module, way: Way) -> Callable[[], Any]:
    """A function that takes one step, with the gradients that are there."""
    # so small a rate that the weights, which all contenders share, stay as they are
    config = ModelConfig(learning_rate=1e-12, **way.settings)
    return build_optimizer(config, network, fused=way.fused).step


def print_costs(milliseconds: dict[str, float]) -> None:
    """Print each one's time and its share of the forward and backward pass, the first one."""
    (name, reference), *others = milliseconds.items()
    width = max(map(len, milliseconds))
    print(f"resnet18, small-image stem, batch {BATCH} of {SIDE} × {SIDE}, CPU milliseconds")
    print(f"{name:{width}}  {reference:>9.1f}")
    for other, time in others:
        print(f"{other:{width}}  {time:>9.1f}  {time / reference:>7.1%} more a step")


if __name__ == "__main__":
    main()
