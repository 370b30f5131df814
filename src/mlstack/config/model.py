"""The `model` group: the network, its loss, its optimizer and its learning-rate schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlstack.config.keys import key

# The losses of each `data.task`; the first is what `auto` means.
LOSSES = {
    "classification": ("cross_entropy", "focal"),
    "multilabel": ("bce",),
    "regression": ("mse", "mae", "huber"),
}
OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
SCHEDULERS = (
    "constant",
    "step",
    "cosine",
    "cosine_restarts",
    "warmup_cosine",
    "one_cycle",
    "reduce_on_plateau",
)
CONVOLUTION_STARTS = ("default", "dirac")
STEMS = ("auto", "small", "standard")


@dataclass
class ModelConfig:
    """What is trained, and by which rule."""

    name: str = key("resnet18", "Architecture: a shipped one, any of torchvision, or timm/NAME")
    target: str | None = key(None, "Your own network, module:callable; gets num_classes, in_channels, image_size, args")
    args: dict[str, Any] = key({}, "Further arguments for the network")
    pretrained: bool = key(False, "Start from ImageNet weights (a download)")
    pruned: bool = key(False, "Layers are as narrow as the weights that come in; set by prune.ratio and init_from")
    freeze_backbone: bool = key(False, "Train the last layer only")
    gradient_checkpointing: bool = key(False, "Recompute activations in the backward pass: less memory, more time")
    stem: str = key(
        "auto", "First layers of a ResNet; auto = small (3×3, stride 1, no max-pool) up to 64 pixels", choices=STEMS
    )
    dropout: float | None = key(
        None,
        "Chance of dropping a value, in each dropout layer or else before the last layer; null = as built",
        minimum=0,
        maximum=0.95,
    )
    conv_init: str = key(
        "default", "How convolutions start; dirac = as the identity where they can", choices=CONVOLUTION_STARTS
    )
    whitening: bool = key(False, "A first layer that whitens patches of the training images, and does not learn")
    test_time_flip: bool = key(False, "Answer with the mean for a picture and its mirror image, when not training")
    loss: str = key(
        "auto",
        "Loss; auto = cross_entropy, bce or mse, as data.task asks",
        choices=("auto", *(loss for losses in LOSSES.values() for loss in losses)),
    )
    loss_args: dict[str, Any] = key({}, "Further arguments for the loss: label_smoothing, class_weights, gamma, …")
    optimizer: str = key("adamw", "Optimizer", choices=OPTIMIZERS)
    optimizer_args: dict[str, Any] = key({}, "Further arguments for the optimizer, such as momentum, nesterov, betas")
    learning_rate: float = key(1e-3, "Peak learning rate", unit="per optimizer step", above=0)
    weight_decay: float = key(0.01, "Weight decay (L2; with adamw and muon decoupled)", minimum=0)
    decay_norm_and_bias: bool = key(False, "Let weight decay shrink norm layers and biases too")
    l1: float = key(0.0, "Weight of an L1 penalty on what weight decay shrinks", minimum=0)
    scheduler: str = key("warmup_cosine", "Learning-rate schedule, by optimizer step", choices=SCHEDULERS)
    warmup_fraction: float = key(
        0.05, "Share of the steps that warmup_cosine and one_cycle take to the peak", minimum=0, maximum=1
    )
    scheduler_args: dict[str, Any] = key({}, "Further arguments for the schedule: every, gamma, cycles, patience, …")
