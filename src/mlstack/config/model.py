"""The `model` group: the network, its loss, its optimizer and its learning-rate schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlstack.config.keys import key

LOSSES = ("cross_entropy",)
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULERS = ("constant", "cosine", "warmup_cosine")
STEMS = ("auto", "small", "standard")


@dataclass
class ModelConfig:
    """What is trained, and by which rule."""

    name: str = key("resnet18", "Architecture: a shipped one, any of torchvision, or timm/NAME")
    target: str | None = key(None, "Your own network, module:callable; gets num_classes, in_channels, image_size, args")
    args: dict[str, Any] = key({}, "Further arguments for the network")
    pretrained: bool = key(False, "Start from ImageNet weights (a download)")
    freeze_backbone: bool = key(False, "Train the last layer only")
    gradient_checkpointing: bool = key(False, "Recompute activations in the backward pass: less memory, more time")
    stem: str = key(
        "auto", "First layers of a ResNet; auto = small (3×3, stride 1, no max-pool) up to 64 pixels", choices=STEMS
    )
    loss: str = key("cross_entropy", "Loss", choices=LOSSES)
    optimizer: str = key("adamw", "Optimizer", choices=OPTIMIZERS)
    optimizer_args: dict[str, Any] = key({}, "Further arguments for the optimizer, such as momentum, nesterov, betas")
    learning_rate: float = key(1e-3, "Peak learning rate", unit="per optimizer step", above=0)
    weight_decay: float = key(0.01, "Weight decay", minimum=0)
    scheduler: str = key("warmup_cosine", "Learning-rate schedule, by optimizer step", choices=SCHEDULERS)
    warmup_fraction: float = key(0.05, "Share of the steps that warmup_cosine takes to its peak", minimum=0, maximum=1)
