from __future__ import annotations

from typing import Any

import arithmetic_paddle as arithmetic
import numpy as np
import pytest
from arithmetic_paddle import paddle

from mlstack.config import ModelConfig
from mlstack.engines.paddle.optimizers import build_optimizer
from mlstack.errors import ConfigError

pytestmark = pytest.mark.framework

SETTINGS: list[dict[str, Any]] = [
    {"optimizer": "sgd", "optimizer_args": {"momentum": 0.9}},
    {"optimizer": "adam", "optimizer_args": {"amsgrad": True}},
    {"optimizer": "adamw"},
    {"optimizer": "muon"},
]


def test_dampening_above_0_is_refused() -> None:
    for dampening in (0.0, 0.25):
        args = {"momentum": 0.5, "dampening": dampening}
        config = ModelConfig(optimizer="sgd", optimizer_args=args)
        if dampening:
            with pytest.raises(ConfigError, match="no dampening"):
                build_optimizer(config, arithmetic.Weight())
        else:
            build_optimizer(config, arithmetic.Weight())


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["optimizer"])
def test_the_state_has_the_network_s_names_however_many_optimizers_there_were(settings: dict[str, Any]) -> None:
    # Paddle numbers its accumulators: linear_0.w_0_moment1_0, linear_0.w_0_moment1_1, …
    network = arithmetic.layered()
    first, second = (build_optimizer(ModelConfig(**settings), network) for _ in range(2))
    assert list(first.state_dict()) == list(second.state_dict())
    owners = {name.rsplit("/", 1)[0] for name in first.state_dict()}
    assert owners == set(arithmetic.parameters(network))
    drawn = {
        name: np.random.default_rng(0).normal(size=tensor.shape).astype(np.float32)
        for name, tensor in first.state_dict().items()
    }
    second.load_state_dict(drawn)
    before = {name: tensor.data_ptr() for name, tensor in second.state_dict().items()}
    for name, tensor in second.state_dict().items():
        assert np.array_equal(tensor.numpy(), drawn[name]), name
    arithmetic.set_gradients(network, arithmetic.weights(network))
    second.step()
    for name, tensor in second.state_dict().items():  # it is these that the step works with
        assert not np.array_equal(tensor.numpy(), drawn[name]), name
    assert before == {name: tensor.data_ptr() for name, tensor in second.state_dict().items()}


def test_parts_built_under_two_name_guards_do_not_share_their_momentum() -> None:
    layers = []
    for _ in range(2):
        with paddle.utils.unique_name.guard():
            layers.append(arithmetic.linear(2, 2))
    assert layers[0].weight.name == layers[1].weight.name
    network = arithmetic.sequential(*layers)
    optimizer = build_optimizer(ModelConfig(), network)
    assert {name.rsplit("/", 1)[0] for name in optimizer.state_dict()} == set(arithmetic.parameters(network))
    assert len({parameter.name for parameter in network.parameters()}) == 4


def test_the_rate_is_written_only_when_it_changes() -> None:
    optimizer = build_optimizer(ModelConfig(optimizer="muon", learning_rate=0.1), arithmetic.Mixed())
    assert len(optimizer.inner) == 2
    written: list[float] = []
    for inner in optimizer.inner:
        inner.set_lr = written.append
    for factor in (1.0, 0.5, 0.5, 1.0):
        optimizer.set_factor(factor)
    assert written == [0.05, 0.05, 0.1, 0.1]


def test_weights_of_float64_are_updated_in_float64() -> None:
    network = arithmetic.layered("float64")
    optimizer = build_optimizer(ModelConfig(optimizer="muon"), network)
    assert {str(tensor.dtype) for tensor in optimizer.state_dict().values()} == {"paddle.float64"}


def test_weight_decay_of_an_optimizer_that_is_gone_has_no_effect() -> None:
    # Paddle's AdamW adds what stands in the parameter to its own.
    for settings in ({"optimizer": "adam"}, {"optimizer": "adamw", "learning_rate": 0.1}):
        network = arithmetic.Weight()
        build_optimizer(ModelConfig(optimizer="sgd", weight_decay=0.5), network)
        optimizer = build_optimizer(ModelConfig(weight_decay=0.0, **settings), network)
        arithmetic.set_gradient(network.weight, 0.0)
        optimizer.step()
        assert network.weight.item() == 0.5
