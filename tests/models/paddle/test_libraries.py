from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from mlstack.config import ModelConfig
from mlstack.models.paddle import build_classifier
from mlstack.models.paddle.blocks import StochasticDepth, divisible_by_8
from mlstack.models.paddle.efficientnet import EFFICIENTNETS
from mlstack.models.paddle.starts import kaiming_normal, kaiming_uniform, normal, start_as_torch, uniform

from ..conftest import images_of

pytestmark = pytest.mark.framework


def built(name: str, size: int = 32, channels: int = 3, **settings: Any) -> Any:
    paddle.seed(0)
    return build_classifier(ModelConfig(name=name, **settings), images_of(size, channels))


@pytest.mark.parametrize(
    ("name", "features"), [("googlenet", 1024), ("squeezenet1_1", 512), ("shufflenet_v2_x0_25", 512)]
)
def test_a_network_of_paddle_vision_gives_features_and_one_answer(name: str, features: int) -> None:
    classifier = built(name, size=64)
    assert classifier.features(paddle.zeros([2, 64, 64, 3], dtype="uint8")).shape == [2, features]
    assert classifier.head.weight.shape == [features, 10]


def test_googlenets_auxiliary_heads_are_gone() -> None:
    weights = built("googlenet", size=64).state_dict()
    assert not [name for name in weights if "o1" in name or "o2" in name or "_out" in name]


@pytest.mark.parametrize(("name", "blocks", "features"), [("efficientnet_b1", 23, 1280), ("efficientnet_b3", 26, 1536)])
def test_larger_efficientnets_are_deeper_and_wider(name: str, blocks: int, features: int) -> None:
    network = EFFICIENTNETS[name](num_classes=1)
    assert sum(len(stage) for stage in network.features[1:-1]) == blocks
    assert network.classifier[1].weight.shape == [features, 1]


@pytest.mark.parametrize(("channels", "rounded"), [(8, 8), (3, 8), (11, 16), (12, 16), (35.2, 32), (38.4, 40)])
def test_channels_are_multiples_of_8(channels: float, rounded: int) -> None:
    assert divisible_by_8(channels) == rounded


def test_stochastic_depth_drops_whole_pictures_and_scales_the_others() -> None:
    paddle.seed(0)
    layer, branch = StochasticDepth(0.25), paddle.ones([400, 2, 1, 1])
    kept = layer(branch).numpy().reshape(400, 2)
    assert sorted(set(kept.flatten().tolist())) == pytest.approx([0, 1 / 0.75])
    assert (kept[:, 0] == kept[:, 1]).all()
    assert (kept[:, 0] > 0).mean() == pytest.approx(0.75, abs=0.08)
    layer.eval()
    assert (layer(branch) == branch).all().item()


@pytest.mark.parametrize("layer", [nn.Conv2D(20, 30, 5), nn.Linear(500, 30)], ids=["convolution", "linear"])
def test_layers_start_as_torch_starts_them(layer: nn.Layer) -> None:
    paddle.seed(0)
    start_as_torch(layer)
    bound = 1 / math.sqrt(500)
    for values in (layer.weight.numpy(), layer.bias.numpy()):
        assert 0.8 * bound < abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.3)


def test_each_law_has_its_deviation() -> None:
    paddle.seed(0)
    weight = nn.Conv2D(16, 32, 3).weight  # fan-in 144, fan-out 288
    laws = {
        lambda: kaiming_normal(weight, fan_out=True): math.sqrt(2 / 288),
        lambda: kaiming_normal(weight, fan_out=False): math.sqrt(2 / 144),
        lambda: kaiming_uniform(weight): math.sqrt(2 / 144),
        lambda: normal(weight, 0.01): 0.01,
        lambda: uniform(weight, 0.3): 0.3 / math.sqrt(3),
    }
    for draw, deviation in laws.items():
        draw()
        assert weight.numpy().std() == pytest.approx(deviation, rel=0.03)
        assert abs(weight.numpy().mean()) < 0.1 * deviation


def test_a_network_is_built_in_double_precision_where_that_is_the_default() -> None:
    paddle.set_default_dtype("float64")
    try:
        classifier = built("mobilenet_v3_small", size=8, channels=1, whitening=True)
        answers = classifier(paddle.zeros([2, 8, 8, 1], dtype="uint8"))
    finally:
        paddle.set_default_dtype("float32")
    assert answers.dtype == paddle.float64
    assert {str(value.dtype) for value in classifier.state_dict().values()} == {"paddle.float64"}
    assert classifier.scale.numpy().dtype == np.float64
