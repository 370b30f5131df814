"""Muon (https://kellerjordan.github.io/posts/muon/): momentum whose matrices are made orthogonal before each step.

Differences from the post:
- An update is multiplied by 0.2 · √max(rows, columns) (https://arxiv.org/abs/2502.16982, section 2.2), not by
  √max(1, rows / columns): its root mean square is then about 0.2, like AdamW's, so that one learning rate serves both.
- Newton–Schulz runs in float32 (the post: bfloat16), for wide matrices on their small Gram matrix. On a CPU with
  AVX512-BF16 that takes 0.75 × the time of bfloat16 and 0.35 × that of plain float32 for filters of 512 × 4608.
- What isn't hidden learns by AdamW in the same object, as one optimizer with one state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

A, B, C = 3.4445, -4.7750, 2.0315  # the post's: σ → A·σ + B·σ³ + C·σ⁵, five times, takes 0.01 … 1 to 0.68 … 1.14
UPDATE_SIZE = 0.2  # root mean square of AdamW's usual update (0.2 to 0.4, says section 2.2 of arXiv 2502.16982)
BATCHED_BELOW = 2**18  # values of a matrix; larger ones gain nothing from being stacked, and cost memory


class Muon(Optimizer):
    """Muon for groups named `hidden`, AdamW for all others; weight decay is decoupled in both.

    Args:
        groups: Mappings with `params`, and `name` and `weight_decay` where they differ from none and 0. Parameters of
            `hidden` have two dimensions or more and are taken as [first, product of the rest].
        lr: Learning rate, per step.
        momentum: Of the hidden ones; their gradients are averaged with this decay.
        nesterov: Look one step of the momentum ahead.
        ns_steps: Newton–Schulz steps.
        betas: AdamW's decays of the gradient's mean and mean square.
        eps: AdamW's addition to the denominator.
        rest_learning_rate: Learning rate of AdamW; None = `lr`.
        fused: AdamW in one kernel.

    Raises:
        ValueError: A hidden parameter is a vector.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        rest_learning_rate: float | None = None,
        fused: bool = False,
    ) -> None:
        hidden = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
        rest = {"lr": lr if rest_learning_rate is None else rest_learning_rate, "betas": betas, "eps": eps}
        # `fused` stands in the group because Optimizer.load_state_dict looks for it there.
        named = [{**(hidden if _is_hidden(group) else {**rest, "fused": fused}), **group} for group in groups]
        super().__init__(named, {"lr": lr, "weight_decay": 0.0})
        for group in filter(_is_hidden, self.param_groups):
            if vectors := [parameter for parameter in group["params"] if parameter.ndim < 2]:
                raise ValueError(f"only matrices can be made orthogonal, not a parameter of {list(vectors[0].shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; `closure`, if given, computes the gradients first and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            if _is_hidden(group):
                self._orthogonal_step(parameters, group)
            else:
                self._adamw_step(parameters, group)
        return loss

    def _orthogonal_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]  # all: for the type only
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        averages = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, averages, group["momentum"]) if group["nesterov"] else averages
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for same in _by_shape(parameters, ahead):
            matrices = torch.stack([update.flatten(1) for _, update in same])  # [n, rows, columns]
            size = -group["lr"] * UPDATE_SIZE * max(matrices.shape[1:]) ** 0.5
            updates = orthogonalize(matrices, steps=group["ns_steps"])
            for (parameter, _), update in zip(same, updates, strict=True):
                parameter.add_(update.view(parameter.shape), alpha=size)

    def _adamw_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            device = parameter.device if group["fused"] else "cpu"  # as torch's AdamW keeps its count of steps
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _is_hidden(group: dict[str, Any]) -> bool:
    return group.get("name") == "hidden"


def _by_shape(parameters: list[Tensor], updates: Iterable[Tensor]) -> list[list[tuple[Tensor, Tensor]]]:
    """Pairs of a parameter and its update: small ones of equal shape together, each large one alone."""
    found: dict[Any, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for parameter, update in zip(parameters, updates, strict=True):
        alone = parameter.numel() >= BATCHED_BELOW
        found[id(parameter) if alone else (parameter.shape, parameter.dtype, parameter.device)].append(
            (parameter, update)
        )
    return list(found.values())


def orthogonalize(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """The nearest matrices with orthonormal rows (or columns, where there are more rows), roughly.

    Args:
        matrices: float [n, rows, columns], of any size.
        steps: Newton–Schulz steps; after 5, singular values above a hundredth of the matrix's norm are 0.68 to 1.14.

    Returns:
        float [n, rows, columns], float64 from float64, else float32; zeros stay zeros.
    """
    working = matrices if matrices.dtype == torch.float64 else matrices.float()
    tall = working.shape[1] > working.shape[2]
    wide = working.mT if tall else working
    wide = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp_min(1e-7)  # singular values of at most 1
    few_rows = wide.shape[2] > 2 * wide.shape[1]  # then the products of [rows, rows] are the cheaper ones
    wide = _on_gram(wide, steps) if few_rows else _newton_schulz(wide, steps)
    return wide.mT if tall else wide


def _newton_schulz(wide: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        wide = _polynomial(wide @ wide.mT) @ wide
    return wide


def _on_gram(wide: Tensor, steps: int) -> Tensor:
    """The same: every step multiplies from the left by a polynomial in G = X·Xᵀ, so only G and the product change."""
    gram = wide @ wide.mT  # [n, rows, rows]
    product = polynomial = _polynomial(gram)
    for _ in range(steps - 1):
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram)
        product = polynomial @ product
    return product @ wide


def _polynomial(gram: Tensor) -> Tensor:
    """A + B·G + C·G², [n, rows, rows]."""
    polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
    polynomial.diagonal(dim1=1, dim2=2).add_(A)
    return polynomial
