from __future__ import annotations

import numpy as np
import pytest

from mlstack.models.smallest_weights import smallest_weights

ARRAYS = [np.array([[0.1, -4.0], [3.0, -0.2]], np.float32), np.array([0.3, -0.05, 0.0, 5.0], np.float32)]


def chosen(ratio: float, scope: str = "layer", importance: str = "l2", seed: int = 0) -> list[list[bool]]:
    found = smallest_weights(ARRAYS, ratio=ratio, scope=scope, importance=importance, seed=seed)
    assert [places.shape for places in found] == [array.shape for array in ARRAYS]
    return [places.ravel().tolist() for places in found]


def test_each_layer_loses_the_same_share_of_its_own_smallest_weights() -> None:
    assert chosen(0.5) == [[True, False, False, True], [False, True, True, False]]


def test_with_a_global_scope_the_smallest_weights_anywhere_go() -> None:
    assert chosen(0.625, "global") == [[True, False, False, True], [True, True, True, False]]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_share_of_less_than_one_weight_takes_none(scope: str) -> None:
    assert not np.any(chosen(0.05, scope))


def test_weights_that_are_0_already_count_so_that_pruning_again_changes_nothing() -> None:
    pruned = [np.where(places, 0, array) for places, array in zip(chosen_arrays(0.5), ARRAYS, strict=True)]
    again = smallest_weights(pruned, ratio=0.5, scope="global", importance="l1", seed=0)
    assert [places.tolist() for places in again] == [(array == 0).tolist() for array in pruned]


def chosen_arrays(ratio: float) -> list[np.ndarray]:
    return smallest_weights(ARRAYS, ratio=ratio, scope="layer", importance="l2", seed=0)


def test_a_random_choice_follows_the_seed() -> None:
    draws = [chosen(0.5, importance="random", seed=seed) for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert draws[2] != draws[0] or draws[3] != draws[0]
    assert all(sum(places) == 2 for places in draws[0])


def test_no_layers_are_no_mistake() -> None:
    assert smallest_weights([], ratio=0.5, scope="global", importance="l2", seed=0) == []
