from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.config import ModelConfig

pytestmark = pytest.mark.framework


@pytest.fixture
def arithmetic(engine: str) -> Any:
    return importlib.import_module(f"arithmetic_{engine}")


def drawn(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24), (2, 24, 16), (2, 16, 144), (1, 144, 16), (1, 1, 9)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_an_orthogonal_update_has_singular_values_near_1_and_the_directions_of_the_matrix(
    arithmetic: Any, shape: tuple[int, int, int], size: float
) -> None:
    left, _, right = np.linalg.svd(drawn(*shape), full_matrices=False)
    values = np.linspace(0.1, 1, left.shape[-1], dtype=np.float32)
    update = arithmetic.orthogonalize(np.float32(size) * left * values @ right)
    assert update.shape == shape
    # in the matrix's own directions it is diagonal
    diagonal = left.swapaxes(1, 2) @ update @ right.swapaxes(1, 2)
    singular = diagonal.diagonal(axis1=1, axis2=2)
    assert singular.min() > 0.65 and singular.max() < 1.25
    assert abs(diagonal - singular[:, None] * np.eye(len(values))).max() < 1e-4


def test_five_steps_are_the_polynomial_of_the_post_five_times(arithmetic: Any) -> None:
    # σ → 3.4445·σ - 4.7750·σ³ + 2.0315·σ⁵, on a diagonal matrix of norm 1: 0.6, 0.8 → 1.193270, 0.976483 → …
    values = np.array([0.6, 0.8])
    expected = values
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    got = arithmetic.orthogonalize(np.diag(values)[None])
    assert got.dtype == np.float64 and np.allclose(got[0], np.diag(expected), atol=1e-6)
    once = arithmetic.orthogonalize(np.diag(values)[None], steps=1)[0].diagonal()
    assert once.tolist() == pytest.approx([1.1932696, 0.9764826], abs=1e-6)


def test_wide_matrices_go_through_their_gram_matrix_to_the_same_result(arithmetic: Any) -> None:
    wide = drawn(2, 32, 288)
    exact = arithmetic.orthogonalize(wide.astype(np.float64))
    assert abs(arithmetic.orthogonalize(wide) - exact).max() < 1e-5 * abs(exact).max()
    square_blocks = np.concatenate([wide, np.zeros((2, 256, 288), np.float32)], axis=1)  # too many for the Gram path
    assert abs(arithmetic.orthogonalize(square_blocks)[:, :32] - exact).max() < 1e-5


def test_singular_values_that_are_nearly_0_do_no_harm(arithmetic: Any) -> None:
    left, _, right = np.linalg.svd(drawn(1, 64, 576), full_matrices=False)
    update = arithmetic.orthogonalize(left * np.logspace(0, -9, 64, dtype=np.float32) @ right)
    assert np.isfinite(update).all() and np.linalg.svd(update, compute_uv=False).max() < 1.25
    assert not arithmetic.orthogonalize(np.zeros((1, 4, 9), np.float32)).any()


def test_a_step_is_as_large_as_one_of_adamw(arithmetic: Any) -> None:
    # A matrix of m orthonormal rows of length n has a root mean square of √(m / (m·n)) = 1 / √n; times 0.2 · √n = 0.2.
    for shape in ((64, 32, 3, 3), (64, 64), (128, 32)):
        weight = arithmetic.parameter(np.zeros(shape))
        arithmetic.set_gradient(weight, drawn(*shape))
        arithmetic.muon_of([weight], learning_rate=1.0).step()
        assert np.sqrt((arithmetic.array(weight) ** 2).mean()) == pytest.approx(0.2, rel=0.2), shape


def test_the_first_step_of_a_diagonal_matrix_is_the_one_worked_out_by_hand(arithmetic: Any) -> None:
    # One Newton–Schulz step on diag(3, 4) / 5 gives 1.193270 and 0.976483 (above); times 0.2 · √2 · rate 0.1, off the
    # weight 1, which decay has shrunk to 1 - 0.1 · 0.5 = 0.95: 0.95 - 0.0337507 and 0.95 - 0.0276191.
    weight = arithmetic.parameter(np.eye(2))
    arithmetic.set_gradient(weight, np.diag([3.0, 4.0]))
    arithmetic.muon_of([weight], learning_rate=0.1, ns_steps=1, weight_decay=0.5).step()
    found = arithmetic.array(weight)
    assert found.diagonal().tolist() == pytest.approx([0.9162493, 0.9223809], abs=1e-6)
    assert found[0, 1] == 0


@pytest.mark.parametrize(("nesterov", "share"), [(False, (0.25, 0.5)), (True, (0.125, 0.75))])
def test_momentum_averages_gradients(arithmetic: Any, nesterov: bool, share: tuple[float, float]) -> None:
    # Decay 0.5, gradients G then H: averages 0.5·G, then 0.25·G + 0.5·H. Nesterov: 0.5·H + 0.5·that = 0.125·G + 0.75·H.
    first, second = drawn(4, 9), drawn(4, 9, seed=1)
    weight = arithmetic.parameter(np.zeros((4, 9)))
    optimizer = arithmetic.muon_of([weight], learning_rate=0.1, momentum=0.5, nesterov=nesterov)
    arithmetic.set_gradient(weight, first)
    optimizer.step()
    before = arithmetic.array(weight)
    arithmetic.set_gradient(weight, second)
    optimizer.step()
    expected = np.float32(share[0]) * first + np.float32(share[1]) * second
    update = -0.1 * 0.2 * 9**0.5 * arithmetic.orthogonalize(expected[None])[0]
    assert np.allclose(arithmetic.array(weight) - before, update, atol=1e-6)
    assert np.array_equal(arithmetic.gradient(weight), second)  # gradients are left as they were


def test_filters_are_taken_as_matrices_of_out_and_the_rest(arithmetic: Any) -> None:
    filters, matrix = arithmetic.parameter(np.zeros((8, 4, 3, 3))), arithmetic.parameter(np.zeros((8, 36)))
    arithmetic.set_gradient(filters, drawn(8, 4, 3, 3))
    arithmetic.set_gradient(matrix, drawn(8, 4, 3, 3).reshape(8, 36))
    arithmetic.muon_of([filters, matrix], learning_rate=0.1).step()
    assert np.allclose(arithmetic.array(filters).reshape(8, 36), arithmetic.array(matrix), atol=1e-7)


def test_matrices_of_equal_shape_do_not_mix(arithmetic: Any) -> None:
    together = [arithmetic.parameter(np.zeros((8, 8))) for _ in range(3)]
    alone = [arithmetic.parameter(np.zeros((8, 8))) for _ in range(3)]
    for number, pair in enumerate(zip(together, alone, strict=True)):
        for weight in pair:
            arithmetic.set_gradient(weight, drawn(8, 8, seed=number))
    arithmetic.muon_of(together, learning_rate=0.1).step()
    for weight, expected in zip(together, alone, strict=True):
        arithmetic.muon_of([expected], learning_rate=0.1).step()
        assert np.allclose(arithmetic.array(weight), arithmetic.array(expected), atol=1e-6)


def test_the_rest_learns_by_adamw_at_its_own_rate(arithmetic: Any) -> None:
    args = {"betas": [0.8, 0.9], "eps": 1e-6}
    found = []
    for name, rates in (("muon", {"rest_learning_rate": 0.02}), ("adamw", {})):
        rate = 0.1 if name == "muon" else 0.02
        config = ModelConfig(optimizer=name, learning_rate=rate, weight_decay=0.1, optimizer_args={**args, **rates})
        network = arithmetic.Weight()  # a single layer is first layer and head, so nothing is hidden
        (weight,) = network.parameters()
        optimizer = arithmetic.Optimizer(config, network)
        for step in range(5):
            arithmetic.set_gradient(weight, drawn(1, 1, seed=step))
            optimizer.step()
        found.append(weight.item())
    assert found[0] == pytest.approx(found[1], abs=1e-7)


def test_parameters_without_a_gradient_stay_where_they_are(arithmetic: Any) -> None:
    still, moving = (arithmetic.parameter(np.ones((4, 4))) for _ in range(2))
    arithmetic.set_gradient(moving, drawn(4, 4))
    arithmetic.muon_of([still, moving], learning_rate=0.1, weight_decay=0.1).step()
    assert (arithmetic.array(still) == 1).all() and (arithmetic.array(moving) != 1).all()


def test_a_vector_can_not_be_hidden(arithmetic: Any) -> None:
    with pytest.raises(ValueError, match=r"not a parameter of \[7\]"):
        arithmetic.muon_of([arithmetic.parameter(np.zeros(7))], learning_rate=0.1)


def test_a_badly_scaled_linear_problem_converges(arithmetic: Any) -> None:
    # W·X = Y, the rows of X of sizes 1 down to 0.01, the rate falling to 0 over 200 steps
    inputs, goal = np.logspace(0, -2, 16)[:, None] * drawn(16, 64), drawn(16, 16, seed=1)
    answers = goal @ inputs
    weight = arithmetic.parameter(np.zeros((16, 16)))
    optimizer = arithmetic.muon_of([weight], learning_rate=0.1)
    for step in range(200):
        arithmetic.set_rate(optimizer, 0.2 * (1 - step / 200))
        misses = arithmetic.array(weight) @ inputs - answers
        arithmetic.set_gradient(weight, 2 * misses @ inputs.T / misses.size)
        optimizer.step()
    misses = arithmetic.array(weight) @ inputs - answers
    assert (misses**2).mean() < 0.001 * (answers**2).mean()
