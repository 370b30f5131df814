"""Muon (https://kellerjordan.github.io/posts/muon/): momentum whose matrices are made orthogonal before each step.

Differences from the post:
- An update is multiplied by 0.2 · √max(rows, columns) (https://arxiv.org/abs/2502.16982, section 2.2), not by
  √max(1, rows / columns): its root mean square is then about 0.2, like AdamW's, so that one learning rate serves both.
- Newton–Schulz runs in float32 (the post: bfloat16), for wide matrices on their small Gram matrix.
- What isn't hidden learns by AdamW, an optimizer of its own beside this one (see optimizers.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import paddle
from paddle import Tensor
from paddle.optimizer import Optimizer

A, B, C = 3.4445, -4.7750, 2.0315  # the post's: σ → A·σ + B·σ³ + C·σ⁵, five times, takes 0.01 … 1 to 0.68 … 1.14
UPDATE_SIZE = 0.2  # root mean square of AdamW's usual update (0.2 to 0.4, says section 2.2 of arXiv 2502.16982)
BATCHED_BELOW = 2**18  # values of a matrix; larger ones gain nothing from being stacked, and cost memory
MOMENTUM = "momentum_buffer"


class Muon(Optimizer):
    """Muon for matrices and filters; weight decay is decoupled.

    Args:
        parameters: Of two dimensions or more; they are taken as [first, product of the rest].
        learning_rate: Per step.
        weight_decay: Share of the learning rate by which a step shrinks the parameters.
        momentum: The gradients are averaged with this decay.
        nesterov: Look one step of the momentum ahead.
        ns_steps: Newton–Schulz steps.

    Raises:
        ValueError: A parameter is a vector.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
    ) -> None:
        if vectors := [parameter for parameter in parameters if parameter.ndim < 2]:
            raise ValueError(f"only matrices can be made orthogonal, not a parameter of {list(vectors[0].shape)}")
        super().__init__(learning_rate=learning_rate, parameters=parameters)
        self.decay, self.momentum, self.nesterov, self.ns_steps = weight_decay, momentum, nesterov, ns_steps

    def _create_accumulators(self, block: Any, parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:  # one that is there already is left as it is
            self._add_accumulator(MOMENTUM, parameter)

    @paddle.no_grad()
    def step(self) -> None:
        """Take one step. Parameters without a gradient stay where they are."""
        parameters = [parameter for parameter in self._parameter_list if parameter.grad is not None]
        self._create_accumulators(None, parameters)
        rate = self.get_lr()
        for same in _by_shape(parameters, [self._ahead(parameter) for parameter in parameters]):
            matrices = paddle.stack([update.flatten(1) for _, update in same])  # [n, rows, columns]
            size = rate * UPDATE_SIZE * max(matrices.shape[1:]) ** 0.5
            updates = orthogonalize(matrices, steps=self.ns_steps).scale_(size)
            for (parameter, _), update in zip(same, updates.unbind(), strict=True):
                if self.decay:
                    parameter.scale_(1 - rate * self.decay)
                parameter.subtract_(update.reshape(parameter.shape))

    def _ahead(self, parameter: Tensor) -> Tensor:
        """What is made orthogonal: the average of the gradients, with Nesterov one step ahead of it."""
        gradient, average = parameter.grad, self._get_accumulator(MOMENTUM, parameter)
        new = gradient * (1 - self.momentum)
        average.scale_(self.momentum).add_(new)
        return new.add_(average * self.momentum) if self.nesterov else average


def _by_shape(parameters: list[Tensor], updates: Iterable[Tensor]) -> list[list[tuple[Tensor, Tensor]]]:
    """Pairs of a parameter and its update: small ones of equal shape together, each large one alone."""
    found: dict[Any, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for parameter, update in zip(parameters, updates, strict=True):
        alone = parameter.size >= BATCHED_BELOW
        found[id(parameter) if alone else (*parameter.shape, parameter.dtype)].append((parameter, update))
    return list(found.values())


def orthogonalize(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """The nearest matrices with orthonormal rows (or columns, where there are more rows), roughly.

    Args:
        matrices: float [n, rows, columns], of any size.
        steps: Newton–Schulz steps; after 5, singular values above a hundredth of the matrix's norm are 0.68 to 1.14.

    Returns:
        float [n, rows, columns], float64 from float64, else float32; zeros stay zeros.
    """
    working = matrices if matrices.dtype == paddle.float64 else matrices.astype("float32")
    tall = working.shape[1] > working.shape[2]
    wide = working.mT if tall else working
    norm = paddle.linalg.norm(wide, p="fro", axis=[1, 2], keepdim=True)
    wide = wide / norm.clip(min=1e-7)  # singular values of at most 1
    few_rows = wide.shape[2] > 2 * wide.shape[1]  # then the products of [rows, rows] are the cheaper ones
    wide = _on_gram(wide, steps) if few_rows else _newton_schulz(wide, steps)
    return wide.mT if tall else wide


def _newton_schulz(wide: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        wide = _polynomial(_gram(wide)) @ wide
    return wide


def _on_gram(wide: Tensor, steps: int) -> Tensor:
    """The same: every step multiplies from the left by a polynomial in G = X·Xᵀ, so only G and the product change."""
    gram = _gram(wide)  # [n, rows, rows]
    product = polynomial = _polynomial(gram)
    for _ in range(steps - 1):
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram)
        product = polynomial @ product
    return product @ wide


def _gram(wide: Tensor) -> Tensor:
    return paddle.matmul(wide, wide, transpose_y=True)


def _polynomial(gram: Tensor) -> Tensor:
    """A + B·G + C·G², [n, rows, rows]."""
    constant = A * paddle.eye(gram.shape[-1], dtype=gram.dtype)
    # baddbmm is no faster, and takes B and C in float32 even for float64.
    return (gram @ gram).scale_(C).add_(gram.scale(B)).add_(constant)
