from __future__ import annotations

import importlib
from typing import Any

import pytest

from mlstack.config import ModelConfig

pytestmark = pytest.mark.framework


@pytest.fixture
def arithmetic(engine: str) -> Any:
    return importlib.import_module(f"arithmetic_{engine}")


def names(network: Any) -> set[str]:
    return {name for name, _ in network.named_parameters() if not name.split(".")[-1].startswith(("_mean", "_var"))}


def weights_of(arithmetic: Any) -> set[str]:
    return {"convolution.weight", "positions", "words.weight", "hidden.weight", "head.weight", *arithmetic.ATTENTION}


def groups(arithmetic: Any, network: Any, **settings: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = arithmetic.Optimizer(ModelConfig(**settings), network).groups
    return found


def test_weight_decay_leaves_norms_biases_and_vectors_alone(arithmetic: Any) -> None:
    network = arithmetic.Mixed()
    found = groups(arithmetic, network)
    assert found["weights"] == weights_of(arithmetic)
    biases = {name for name in names(network) if name.endswith("bias")}
    scales = {"scale", "token", "position_bias", arithmetic.SLOPE, "batch_norm.weight", "layer_norm.weight"}
    assert found["norms_and_biases"] == scales | biases
    optimizer = arithmetic.Optimizer(ModelConfig(weight_decay=0.3), network)
    assert optimizer.decays == {"weights": 0.3, "norms_and_biases": 0.0}


def test_weight_decay_can_shrink_everything(arithmetic: Any) -> None:
    network = arithmetic.Mixed()
    assert groups(arithmetic, network, decay_norm_and_bias=True) == {"weights": names(network)}


def test_muon_takes_what_lies_between_the_first_layer_and_the_head(arithmetic: Any) -> None:
    found = groups(arithmetic, arithmetic.Mixed(), optimizer="muon")
    assert found["hidden"] == {*arithmetic.ATTENTION, "hidden.weight"}
    assert found["weights"] == weights_of(arithmetic) - found["hidden"]
    everything = groups(arithmetic, arithmetic.Mixed(), optimizer="muon", decay_norm_and_bias=True)
    assert everything["hidden"] == found["hidden"] and len(everything) == 2


@pytest.mark.parametrize("as_buffer", [False, True])
def test_behind_a_layer_that_does_not_learn_the_first_one_that_does_is_hidden(arithmetic: Any, as_buffer: bool) -> None:
    whitening = arithmetic.convolution(3, 8, 2)
    whitening = arithmetic.with_buffer_for_weight(whitening) if as_buffer else arithmetic.freeze(whitening)
    network = arithmetic.sequential(whitening, arithmetic.convolution(8, 8, 3), arithmetic.linear(8, 2))
    assert groups(arithmetic, network, optimizer="muon")["hidden"] == {"1.weight"}


def test_frozen_parameters_are_left_out_and_shared_ones_come_once(arithmetic: Any) -> None:
    learning, frozen = arithmetic.linear(2, 2), arithmetic.freeze(arithmetic.linear(2, 2))
    for optimizer in ("sgd", "muon"):
        found = groups(arithmetic, arithmetic.sequential(learning, frozen, learning), optimizer=optimizer)
        assert found == {"weights": {"0.weight"}, "norms_and_biases": {"0.bias"}}
