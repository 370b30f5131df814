"""A moving average of the weights: what is validated and kept where `trainer.ema_decay` is set.

After each optimizer step: average ← decay · average + (1 - decay) · weights (Polyak averaging with exponential weights,
as in https://arxiv.org/abs/1512.00567), buffers such as batch-norm statistics included. In the first steps the decay
is (1 + step) / (10 + step), lest the random start weigh on the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn


class WeightAverage:
    """The average of a network's weights.

    Args:
        network: On its device already.
        decay: 0 to 1.
    """

    def __init__(self, network: nn.Layer, decay: float) -> None:
        self.decay = decay
        self.network = network
        live = network.state_dict()  # the weights themselves
        self._names = [name for name, tensor in live.items() if tensor.is_floating_point()]
        self._live = [live[name] for name in self._names]
        self._average = [tensor.detach().clone() for tensor in self._live]
        self.swapped = False

    @paddle.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimizer step number `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, live in zip(self._average, self._live, strict=True):
            average.scale_(decay).add_(live.scale(1 - decay))  # lerp_ takes 3.4 × as long on a CPU

    @paddle.no_grad()
    def swap(self) -> None:
        """Exchange weights and average: for a validation, and back."""
        for live, average in zip(self._live, self._average, strict=True):
            kept = average.clone()
            paddle.assign(live, output=average)
            paddle.assign(kept, output=live)
        self.swapped = not self.swapped

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged network: its state_dict, whole numbers as they are."""
        assert not self.swapped
        averages = dict(zip(self._names, self._average, strict=True))
        return {name: averages.get(name, tensor) for name, tensor in self.network.state_dict().items()}

    @paddle.no_grad()
    def load_state_dict(self, state: Mapping[str, NDArray[Any] | Tensor]) -> None:
        """Take over a checkpoint's average."""
        for name, average in zip(self._names, self._average, strict=True):
            average.set_value(state[name])
