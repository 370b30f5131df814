from __future__ import annotations

from functools import cache
from importlib import import_module
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from mlstack.commands.convert import CONVERSIONS
from mlstack.config import DataConfig, ModelConfig
from mlstack.config.trainer import ENGINES
from mlstack.config.vocabulary import CONFIG_DIR
from mlstack.datasets import load_dataset
from mlstack.errors import ConfigError
from mlstack.models.conversion import to_paddle, to_torch

from .conftest import images_of

pytestmark = pytest.mark.framework

SHIPPED = [
    name
    for path in sorted((CONFIG_DIR / "model").glob("*.yaml"))
    if (name := yaml.safe_load(path.read_text(encoding="utf-8"))["name"])
]
PAIRS = list(permutations(ENGINES, 2))  # none where only one framework is left
TOLERANCE = 1e-4  # of the largest logit


@cache
def digits() -> NDArray[np.uint8]:
    """Real pictures, uint8 [16, 8, 8, 1]. (benchmarks/conversion.py takes Fashion-MNIST's as well.)"""
    return load_dataset(DataConfig(name="digits")).splits["train"].images.read(np.arange(16))


def network(engine: str, model: ModelConfig, data: DataConfig) -> tuple[Any, Any]:
    layers = import_module(f"layers_{engine}")
    layers.seed(0)
    return layers, layers.build_classifier(model, data)


def answers(layers: Any, classifier: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    classifier.eval()
    with layers.no_gradients():
        logits: NDArray[np.float32] = layers.array(classifier(layers.tensor(images)))
    return logits


def new_share(name: str) -> float:
    """How much of a batch goes into the running statistics of an untrained network.

    With little of it the signal dies away in a network that has few shortcuts, and all pictures get the same answer;
    with much of it channels that hardly vary amplify rounding errors.
    """
    return 0.5 if name.startswith("resnet") else 0.99


@pytest.mark.parametrize(("one", "other"), list(combinations(ENGINES, 2)))
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_network_answers_alike_in_both_frameworks(one: str, other: str, name: str) -> None:
    images = digits()
    settings = images_of(images.shape[1], images.shape[3])
    # Pictures that are dropped by chance would make the statistics those of the few others.
    model = ModelConfig(name=name, args={"stochastic_depth_prob": 0.0} if name == "efficientnet_b0" else {})
    networks = {engine: network(engine, model, settings) for engine in (one, other)}
    new = {engine: layers.state(classifier) for engine, (layers, classifier) in networks.items()}
    for source, target in ((one, other), (other, one)):
        (theirs, trained), (ours, converted) = networks[source], networks[target]
        theirs.set_state(trained, new[source])
        trained.train()
        theirs.follow_batches(trained, new_share(name))
        with theirs.no_gradients():
            for _ in range(2):
                trained(theirs.tensor(images))
        weights = theirs.state(trained)
        moved = CONVERSIONS[target](weights)
        ours.set_state(converted, moved)
        expected, logits = answers(theirs, trained, images), answers(ours, converted, images)
        assert np.ptp(expected, axis=0).max() > 0.01 * abs(expected).max()  # pictures are told apart
        assert abs(logits - expected).max() <= TOLERANCE * abs(expected).max()
        back = CONVERSIONS[source](moved)
        assert back.keys() == weights.keys()
        assert all(same_bits(back[key], value) for key, value in weights.items())


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_users_network_with_whitening_and_a_frozen_backbone_moves_too(source: str, target: str) -> None:
    images, settings = digits(), images_of(8, 1)
    found = []
    for engine in (source, target):
        model = ModelConfig(
            target=f"tiny_networks_{engine}:tiny", args={"norm": True}, whitening=True, freeze_backbone=True
        )
        found.append(network(engine, model, settings))
    (theirs, trained), (ours, converted) = found
    theirs.whiten(trained, theirs.tensor(images))
    ours.set_state(converted, CONVERSIONS[target](theirs.state(trained)))
    np.testing.assert_allclose(answers(ours, converted, images), answers(theirs, trained, images), rtol=1e-4, atol=1e-5)


TORCH = {
    "head.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "head.bias": np.float32([1, 2]),
    "first.weight": np.random.default_rng(0).random((2, 1, 3, 3), np.float32),
    "norm.weight": np.ones(2, np.float32),
    "norm.running_mean": np.float32([3, 4]),
    "norm.running_var": np.float32([5, 6]),
    "norm.num_batches_tracked": np.array(7),
}


def test_linear_weights_are_turned_and_statistics_renamed() -> None:
    paddle = to_paddle(TORCH)
    np.testing.assert_array_equal(paddle["head.weight"], [[0, 3], [1, 4], [2, 5]])
    assert paddle["head.weight"].flags.c_contiguous
    assert "norm._mean" in paddle and "norm._variance" in paddle
    assert paddle["first.weight"] is TORCH["first.weight"]


@pytest.mark.parametrize("batches", [0, 7])
def test_a_round_trip_gives_every_array_back_bit_by_bit_from_either_side(batches: int) -> None:
    torch = {**TORCH, "norm.num_batches_tracked": np.array(batches)}
    back = to_torch(to_paddle(torch))
    assert back.keys() == torch.keys()
    assert all(same_bits(back[key], value) for key, value in torch.items())
    paddle = to_paddle(torch)
    again = to_paddle(to_torch(paddle))
    assert again.keys() == paddle.keys()
    assert all(same_bits(again[key], value) for key, value in paddle.items())


def test_kernels_that_lie_in_memory_with_the_channels_last_are_put_in_order() -> None:
    kernel = np.random.default_rng(0).random((2, 3, 3, 4), np.float32).transpose(0, 3, 1, 2)
    assert not kernel.flags.c_contiguous
    converted = to_paddle({"first.weight": kernel})["first.weight"]
    assert converted.flags.c_contiguous
    np.testing.assert_array_equal(converted, kernel)


def test_paddles_batch_norms_get_the_counters_that_torch_wants() -> None:
    paddle = {"norm._mean": np.float32([1]), "norm._variance": np.float32([1])}
    counter = to_torch(paddle)["norm.num_batches_tracked"]
    assert same_bits(counter, np.array(0, np.int64))


@pytest.mark.parametrize(
    ("name", "shape"), [("attention.in_proj_weight", (6, 2)), ("token", (1, 1, 8)), ("slope._weight", (1,))]
)
def test_a_weight_of_no_known_layer_is_refused(name: str, shape: tuple[int, ...]) -> None:
    for convert in (to_paddle, to_torch):
        with pytest.raises(ConfigError, match=f"{name} .* can't be converted"):
            convert({name: np.zeros(shape, np.float32)})
