from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError
from mlstack.models.pytorch import build_classifier

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework


def test_a_timm_network_scores_images() -> None:
    classifier = build_classifier(ModelConfig(name="timm/resnet10t"), images_of(32, 1)).eval()
    with torch.inference_mode():
        assert classifier(pictures(2, 32, 1)).shape == (2, 10)
        assert classifier.features(pictures(2, 32, 1)).shape == (2, 512)


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 8), ("timm/vit_tiny_patch16_224", 8)])
def test_a_vision_transformer_whose_patches_do_not_fit_says_so(name: str, size: int) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        build_classifier(ModelConfig(name=name), images_of(size, 3))
    assert "data.image_size" in str(caught.value)


def test_an_argument_that_a_timm_network_does_not_take_is_one_message() -> None:
    with pytest.raises(ConfigError, match="no_such_argument"):
        build_classifier(ModelConfig(name="timm/resnet10t", args={"no_such_argument": 1}), images_of(32, 3))


def test_the_settings_of_dropout_go_to_each_of_several_layers() -> None:
    with torch.device("meta"):
        classifier = build_classifier(ModelConfig(name="vgg11", dropout=0.25), images_of(224, 3))
    own = [layer.p for layer in classifier.backbone.modules() if isinstance(layer, nn.Dropout)]
    assert own == [0.25, 0.25]
    assert classifier.dropout.p == 0


@pytest.mark.parametrize(("stem", "is_small"), [("auto", True), ("standard", False)])
def test_a_timm_resnet_has_the_small_stem_too(stem: str, *, is_small: bool) -> None:
    with torch.device("meta"):
        resnet = build_classifier(ModelConfig(name="timm/resnet18", stem=stem), images_of(32, 3)).backbone
    assert resnet.conv1.kernel_size == ((3, 3) if is_small else (7, 7))  # type: ignore[union-attr]
    assert isinstance(resnet.maxpool, nn.Identity) == is_small
