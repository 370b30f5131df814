from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlstack.engines.lightning.muon import Muon

pytestmark = pytest.mark.framework


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_filters_of_channels_last_are_taken_as_matrices_too() -> None:
    layout = torch.channels_last
    filters = nn.Parameter(torch.zeros(8, 4, 3, 3).to(memory_format=layout))
    matrix = nn.Parameter(torch.zeros(8, 36))
    filters.grad = drawn(8, 4, 3, 3).to(memory_format=layout)
    matrix.grad = filters.grad.flatten(1)
    Muon([{"name": "hidden", "params": [filters, matrix]}], lr=0.1).step()
    assert torch.allclose(filters.flatten(1), matrix, atol=1e-7)
    assert filters.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("fused", [False, True])
def test_the_rest_learns_as_with_torch_s_adamw(fused: bool) -> None:
    ours, theirs = nn.Parameter(drawn(5)), nn.Parameter(drawn(5))
    args: dict[str, Any] = {"betas": (0.8, 0.9), "eps": 1e-6}
    groups = [{"params": [ours], "weight_decay": 0.1}]
    optimizer = Muon(groups, lr=0.1, rest_learning_rate=0.02, fused=fused, **args)
    reference = torch.optim.AdamW([theirs], lr=0.02, weight_decay=0.1, fused=fused, **args)
    for step in range(5):
        ours.grad, theirs.grad = drawn(5, seed=step), drawn(5, seed=step)
        optimizer.step()
        reference.step()
        assert ours.equal(theirs), step


def test_the_closure_computes_gradients() -> None:
    weight = nn.Parameter(torch.eye(3))
    optimizer = Muon([{"name": "hidden", "params": [weight]}], lr=0.1)

    def closure() -> Tensor:
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3
    assert weight.diagonal().lt(1).all()


@pytest.mark.parametrize("fused", [False, True])
def test_a_run_goes_on_bit_for_bit_from_a_checkpoint(fused: bool) -> None:
    def start() -> tuple[nn.Sequential, Muon]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 3))
        network.to(memory_format=torch.channels_last)
        hidden = {"name": "hidden", "params": [network[0].weight, network[1].weight], "weight_decay": 0.01}
        rest = [network[0].bias, network[1].bias, *network[3].parameters()]
        return network, Muon([hidden, {"params": rest}], lr=0.01, fused=fused)

    def go(network: nn.Sequential, optimizer: Muon, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            network(drawn(6, 4, 6, 6, seed=step)).square().mean().backward()
            optimizer.step()

    whole, whole_optimizer = start()
    go(whole, whole_optimizer, range(6))
    first, first_optimizer = start()
    go(first, first_optimizer, range(3))
    file = io.BytesIO()
    torch.save({"network": first.state_dict(), "optimizer": first_optimizer.state_dict()}, file)
    file.seek(0)
    checkpoint = torch.load(file, weights_only=True)
    second, second_optimizer = start()
    second.load_state_dict(checkpoint["network"])
    second_optimizer.load_state_dict(checkpoint["optimizer"])
    go(second, second_optimizer, range(3, 6))
    for name, value in whole.state_dict().items():
        assert second.state_dict()[name].equal(value), name
