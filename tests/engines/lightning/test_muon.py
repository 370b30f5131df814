from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlstack.engines.lightning.muon import Muon, orthogonalize

pytestmark = pytest.mark.framework


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24), (2, 24, 16), (2, 16, 144), (1, 144, 16), (1, 1, 9)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_an_orthogonal_update_has_singular_values_near_1_and_the_directions_of_the_matrix(
    shape: tuple[int, int, int], size: float
) -> None:
    left, _, right = torch.linalg.svd(drawn(*shape), full_matrices=False)
    values = torch.linspace(0.1, 1, left.shape[-1])
    matrix = size * left * values @ right
    update = orthogonalize(matrix)
    assert update.shape == shape
    # in the matrix's own directions it is diagonal
    diagonal = left.mT @ update @ right.mT
    singular = diagonal.diagonal(dim1=1, dim2=2)
    assert singular.min() > 0.65 and singular.max() < 1.25
    assert (diagonal - torch.diag_embed(singular)).abs().max() < 1e-4


def test_five_steps_are_the_polynomial_of_the_post_five_times() -> None:
    # σ → 3.4445·σ - 4.7750·σ³ + 2.0315·σ⁵, on a diagonal matrix of norm 1: 0.6, 0.8 → 1.193274, 0.976507 → …
    values = torch.tensor([0.6, 0.8], dtype=torch.float64)
    expected = values
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    assert torch.allclose(orthogonalize(torch.diag(values)[None])[0], torch.diag(expected))
    once = orthogonalize(torch.diag(values)[None], steps=1)[0].diagonal()
    assert once.tolist() == pytest.approx([1.1932696, 0.9764826], abs=1e-6)


def test_wide_matrices_go_through_their_gram_matrix_to_the_same_result() -> None:
    wide = drawn(2, 32, 288)
    exact = orthogonalize(wide.double())
    assert (orthogonalize(wide) - exact).abs().max() < 1e-5 * exact.abs().max()
    square_blocks = torch.cat([wide, torch.zeros(2, 256, 288)], dim=1)  # the same rows, too many for the Gram path
    assert (orthogonalize(square_blocks)[:, :32] - exact).abs().max() < 1e-5


def test_singular_values_that_are_nearly_0_do_no_harm() -> None:
    left, _, right = torch.linalg.svd(drawn(1, 64, 576), full_matrices=False)
    update = orthogonalize(left * torch.logspace(0, -9, 64) @ right)
    assert update.isfinite().all() and torch.linalg.svdvals(update).max() < 1.25
    assert orthogonalize(torch.zeros(1, 4, 9)).eq(0).all()


def muon(*parameters: nn.Parameter, weight_decay: float = 0.0, rest: nn.Parameter | None = None, **args: Any) -> Muon:
    groups: list[dict[str, Any]] = [{"name": "hidden", "params": list(parameters), "weight_decay": weight_decay}]
    if rest is not None:
        groups.append({"name": "weights", "params": [rest], "weight_decay": weight_decay})
    return Muon(groups, **{"lr": 0.1, **args})


def test_a_step_is_as_large_as_one_of_adamw() -> None:
    # A matrix of m orthonormal rows of length n has a root mean square of √(m / (m·n)) = 1 / √n; times 0.2 · √n = 0.2.
    for shape in ((64, 32, 3, 3), (64, 64), (128, 32)):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = drawn(*shape)
        muon(weight, lr=1.0).step()
        assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.2, rel=0.2), shape


def test_the_first_step_of_a_diagonal_matrix_is_the_one_worked_out_by_hand() -> None:
    # One Newton–Schulz step on diag(3, 4) / 5 gives 1.193270 and 0.976483 (above); times 0.2 · √2 · lr 0.1 and off the
    # weight 1, which decay has shrunk to 1 - 0.1 · 0.5 = 0.95: 0.95 - 0.0337507 and 0.95 - 0.0276191.
    weight = nn.Parameter(torch.eye(2))
    weight.grad = torch.diag(torch.tensor([3.0, 4.0]))
    muon(weight, ns_steps=1, weight_decay=0.5).step()
    assert weight.diagonal().tolist() == pytest.approx([0.9162493, 0.9223809], abs=1e-6)
    assert weight[0, 1].item() == 0


@pytest.mark.parametrize(("nesterov", "share"), [(False, 0.25), (True, 0.625)])
def test_momentum_averages_gradients(nesterov: bool, share: float) -> None:
    # Decay 0.5, gradients G then H: averages 0.5·G, then 0.25·G + 0.5·H. Nesterov: 0.5·H + 0.5·that = 0.125·G + 0.75·H.
    first, second = drawn(4, 9), drawn(4, 9, seed=1)
    expected = 0.125 * first + 0.75 * second if nesterov else 0.25 * first + 0.5 * second
    weight = nn.Parameter(torch.zeros(4, 9))
    optimizer = muon(weight, momentum=0.5, nesterov=nesterov)
    weight.grad = first.clone()
    optimizer.step()
    before = weight.detach().clone()
    weight.grad = second.clone()
    optimizer.step()
    update = -0.1 * 0.2 * 9**0.5 * orthogonalize(expected[None])[0]
    assert torch.allclose(weight - before, update, atol=1e-6)
    assert weight.grad.equal(second)  # gradients are left as they were


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_filters_are_taken_as_matrices_of_out_and_the_rest(memory_format: torch.memory_format) -> None:
    filters = nn.Parameter(torch.zeros(8, 4, 3, 3).to(memory_format=memory_format))
    matrix = nn.Parameter(torch.zeros(8, 36))
    filters.grad = drawn(8, 4, 3, 3).to(memory_format=memory_format)
    matrix.grad = filters.grad.flatten(1)
    muon(filters, matrix).step()
    assert torch.allclose(filters.flatten(1), matrix, atol=1e-7)
    assert filters.is_contiguous(memory_format=memory_format)


def test_matrices_of_equal_shape_do_not_mix() -> None:
    together = [nn.Parameter(torch.zeros(8, 8)) for _ in range(3)]
    alone = [nn.Parameter(torch.zeros(8, 8)) for _ in range(3)]
    for number, pair in enumerate(zip(together, alone, strict=True)):
        for weight in pair:
            weight.grad = drawn(8, 8, seed=number)
    muon(*together).step()
    for weight, expected in zip(together, alone, strict=True):
        muon(expected).step()
        assert torch.allclose(weight, expected, atol=1e-6)


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


def test_parameters_without_a_gradient_stay_where_they_are() -> None:
    still, moving, rest = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))
    moving.grad = drawn(4, 4)
    muon(still, moving, rest=rest, weight_decay=0.1).step()
    assert still.eq(1).all() and rest.eq(1).all() and moving.ne(1).all()


def test_the_closure_computes_gradients() -> None:
    weight = nn.Parameter(torch.eye(3))
    optimizer = muon(weight)

    def closure() -> Tensor:
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3
    assert weight.diagonal().lt(1).all()


def test_a_vector_can_not_be_hidden() -> None:
    with pytest.raises(ValueError, match=r"not a parameter of \[7\]"):
        muon(nn.Parameter(torch.zeros(7)))


def test_a_badly_scaled_linear_problem_converges() -> None:
    # W·X = Y, the rows of X of sizes 1 down to 0.01, the rate falling to 0 over 200 steps
    inputs, goal = torch.logspace(0, -2, 16)[:, None] * drawn(16, 64), drawn(16, 16, seed=1)
    answers = goal @ inputs
    weight = nn.Parameter(torch.zeros(16, 16))
    optimizer = muon(weight)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 200)
        optimizer.zero_grad()
        loss = (weight @ inputs - answers).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.001 * answers.square().mean().item()
