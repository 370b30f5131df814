"""Losses by name: each maps what the network says and the labels to a scalar, the mean over the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from mlstack.config import DataConfig, ModelConfig
from mlstack.config.model import LOSSES
from mlstack.config.passthrough import check_loss_args
from mlstack.engines.loss_weights import loss_weights
from mlstack.errors import ConfigError

LEAST_MISS = 1e-7  # keeps focal's (1 - p)^gamma differentiable at p = 1 for gamma below 1


def build_loss(
    model: ModelConfig, data: DataConfig, *, class_counts: Sequence[int] | None = None, images: int | None = None
) -> nn.Module:
    """The loss that `model.loss` names, called as `loss(outputs, labels)`.

    Args:
        model: The `model` settings; `loss` is not `auto`.
        data: The `data` settings with their derived values: `classes`, and for a regression `target_std`.
        class_counts: Training images of each class (multilabel: with each label), for `balanced` weights.
        images: Training images in all; only bce's `balanced` needs it.

    Raises:
        ConfigError: An argument that the loss lacks or refuses, or weights of which there is not one a class.
    """
    if model.loss not in BUILDERS:
        raise ConfigError(f"model.loss={model.loss} is unknown", key="model.loss", allowed=tuple(BUILDERS))
    check_loss_args(model)
    if model.loss in LOSSES["regression"]:
        if data.target_std is None:
            raise ValueError("data settings must be complete: see mlstack.datasets.derived")
        return StandardizedLoss(model.loss, data.target_std, **model.loss_args)
    weights = loss_weights(model, data, class_counts=class_counts, images=images)
    tensors = {name: torch.tensor(values, dtype=torch.float32) for name, values in weights.items()}
    return BUILDERS[model.loss](**{**model.loss_args, **tensors})


class CrossEntropy(nn.Module):
    """Cross-entropy in nats of class scores.

    With class weights w the mean is Σ w·loss / Σ w over the batch, w being that of each image's class (as in torch's
    CrossEntropyLoss); a soft label's weight is Σ_c p_c·w_c, so that a one-hot row counts like its class index.
    (torch divides by the batch's size there.) An absent class's `balanced` weight is that of a class with one image.

    Args:
        label_smoothing: Share of a label that is spread evenly over all classes, 0 to 1.
        class_weights: float [class].
    """

    class_weights: Tensor | None

    def __init__(self, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights, persistent=False)  # made from the settings and the data

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Float [batch, class] and int64 [batch] or float [batch, class] → scalar."""
        logits = _precise(logits)
        labels = labels.to(logits) if labels.is_floating_point() else labels
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        loss = functional.cross_entropy(logits, labels, weights, label_smoothing=self.label_smoothing)
        if weights is not None and labels.is_floating_point():
            loss = loss * len(labels) / (labels @ weights).sum()
        return loss


class Focal(nn.Module):
    """Focal loss, -α·(1 - p)^γ·ln p of the right class's probability p (https://arxiv.org/abs/1708.02002).

    The paper's sigmoid is a softmax here, and its division by the number of matched anchors the plain mean over the
    batch: α scales the loss, unlike cross-entropy's class weights. A soft label's loss is Σ_c p_c·(that of class c).

    Args:
        gamma: How little the easy images count; 0 is cross-entropy.
        alpha: One number, or float [class].
    """

    alpha: Tensor

    def __init__(self, *, gamma: float = 2.0, alpha: float | Tensor = 1.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("alpha", torch.as_tensor(alpha, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Float [batch, class] and int64 [batch] or float [batch, class] → scalar."""
        log_chances = _precise(logits).log_softmax(dim=1)
        misses = -torch.expm1(log_chances)  # 1 - p
        losses = -self.alpha.to(log_chances) * misses.clamp_min(LEAST_MISS) ** self.gamma * log_chances
        if labels.is_floating_point():
            return (losses * labels).sum(dim=1).mean()
        return losses.gather(1, labels[:, None]).mean()


class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy in nats of independent labels: the mean over images and labels.

    Args:
        pos_weight: float [label]: what the loss of a present label is multiplied by, with no division by the weights'
            sum. `balanced` is absent / present images of the training split, each at least 1.
    """

    pos_weight: Tensor | None

    def __init__(self, *, pos_weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("pos_weight", pos_weight, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Float [batch, label] and 0 to 1, float [batch, label] → scalar."""
        logits = _precise(logits)
        weight = None if self.pos_weight is None else self.pos_weight.to(logits)
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits), pos_weight=weight)


class StandardizedLoss(nn.Module):
    """Loss of numbers, each residual in standard deviations of its target: the mean over images and targets.

    Args:
        name: mse (r²), mae (|r|) or huber (r²/2 up to delta, then delta·(|r| - delta/2)).
        target_std: Standard deviation of each target in the training images; where it is 0, residuals stay as they are.
        delta: Where huber turns from a parabola into a line, in standard deviations.
    """

    target_std: Tensor

    def __init__(self, name: str, target_std: Sequence[float], *, delta: float = 1.0) -> None:
        super().__init__()
        measures: dict[str, Callable[..., Tensor]] = {
            "mse": functional.mse_loss,
            "mae": functional.l1_loss,
            "huber": functional.huber_loss,
        }
        self.measure, self.arguments = measures[name], {"delta": delta} if name == "huber" else {}
        self.register_buffer("target_std", torch.tensor([std or 1.0 for std in target_std]), persistent=False)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Float [batch, target] twice, in the targets' own units → scalar."""
        outputs = _precise(outputs)
        # Divided after the subtraction: two large numbers that lie close together keep their digits.
        residuals = (outputs - labels.to(outputs)) / self.target_std.to(outputs)
        return self.measure(residuals, torch.zeros_like(residuals), **self.arguments)


def l1_penalty(optimizer: Optimizer) -> Tensor:
    """Sum of the absolute values of all parameters that weight decay shrinks: a scalar with a gradient.

    Args:
        optimizer: From `build_optimizer`, whose groups say which those are.
    """
    shrunk = [parameter for group in optimizer.param_groups if group["shrinks"] for parameter in group["params"]]
    if not shrunk:
        return torch.zeros(())
    return torch.stack([torch.linalg.vector_norm(parameter, 1) for parameter in shrunk]).sum()


def _precise(outputs: Tensor) -> Tensor:
    """In float32 where the network answered in less."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "bce": BinaryCrossEntropy,
    **dict.fromkeys(LOSSES["regression"], StandardizedLoss),
}
