"""A moving average of the weights: what is validated and kept where `trainer.ema_decay` is set.

After each optimizer step: average ← decay · average + (1 - decay) · weights (Polyak averaging with exponential weights,
as in https://arxiv.org/abs/1512.00567), buffers such as batch-norm statistics included. In the first steps the decay
is (1 + step) / (10 + step), lest the random start weigh on the average.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of a network's weights.

    Args:
        network: On its device already.
        decay: 0 to 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = network
        live = network.state_dict()  # views of the weights
        self._live = [tensor for tensor in live.values() if tensor.is_floating_point()]
        self._average = [tensor.clone() for tensor in self._live]
        self._names = [name for name, tensor in live.items() if tensor.is_floating_point()]
        self.swapped = False

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimizer step number `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, self._live, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and average: for a validation, and back."""
        for live, average in zip(self._live, self._average, strict=True):
            kept = average.clone()
            average.copy_(live)
            live.copy_(kept)
        self.swapped = not self.swapped

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged network: its state_dict, whole numbers as they are."""
        assert not self.swapped
        averages = dict(zip(self._names, self._average, strict=True))
        return {name: averages.get(name, tensor) for name, tensor in self.network.state_dict().items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a checkpoint's average."""
        for name, average in zip(self._names, self._average, strict=True):
            average.copy_(state[name])
