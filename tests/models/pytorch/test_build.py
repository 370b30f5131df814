from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mlstack.config import DataConfig, ModelConfig
from mlstack.errors import ConfigError
from mlstack.models.pytorch import build_classifier

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework

SHIPPED = (
    "resnet18",
    "resnet34",
    "resnet50",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "small_cnn",
)


def own(name: str) -> ModelConfig:
    return ModelConfig(target=f"tiny_networks:{name}")


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3)])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_network_scores_small_grey_and_colour_images(name: str, size: int, channels: int) -> None:
    with torch.device("meta"):  # shapes without numbers: building and running cost nothing
        classifier = build_classifier(ModelConfig(name=name), images_of(size, channels))
        assert classifier(pictures(2, size, channels)).shape == (2, 10)


def test_a_timm_network_scores_images() -> None:
    classifier = build_classifier(ModelConfig(name="timm/resnet10t"), images_of(32, 1)).eval()
    with torch.inference_mode():
        assert classifier(pictures(2, 32, 1)).shape == (2, 10)
        assert classifier.features(pictures(2, 32, 1)).shape == (2, 512)


def test_the_head_is_applied_to_the_features() -> None:
    classifier = build_classifier(ModelConfig(name="mobilenet_v3_small"), images_of(16, 3)).eval()
    images = pictures(2, 16, 3)
    with torch.inference_mode():
        features = classifier.features(images)
        assert features.shape == (2, 1024)
        assert classifier.head(features).equal(classifier(images))


def test_a_new_classifier_is_in_training_mode() -> None:
    assert build_classifier(own("tiny"), images_of(8, 1)).training


def test_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build_classifier(own("tiny"), images_of(8, 1)).head.weight

    assert weights(1).equal(weights(1))
    assert not weights(1).equal(weights(2))


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet"])
def test_a_network_that_cannot_take_8_pixels_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} can't take images of 8×8 with 1 channels") as caught:
        build_classifier(ModelConfig(name=name), images_of(8, 1))
    assert "data.image_size=224" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 8), ("timm/vit_tiny_patch16_224", 8)])
def test_a_vision_transformer_whose_patches_do_not_fit_says_so(name: str, size: int) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        build_classifier(ModelConfig(name=name), images_of(size, 3))
    assert "data.image_size" in str(caught.value)


def test_incomplete_settings_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="must be complete"):
        build_classifier(ModelConfig(), DataConfig())


def test_a_users_network_that_ends_in_a_linear_layer_is_split_there() -> None:
    classifier = build_classifier(own("tiny"), images_of(8, 1)).eval()
    assert isinstance(classifier.head, nn.Linear)
    assert classifier.features(pictures(2, 8, 1)).shape == (2, 8 * 4 * 4)
    assert classifier(pictures(2, 8, 1)).shape == (2, 10)


@pytest.mark.parametrize("name", ["pooled", "scaled", "cosine"])
def test_a_users_network_that_does_not_end_in_a_linear_layer_stays_whole(name: str) -> None:
    classifier = build_classifier(own(name), images_of(8, 3)).eval()
    assert isinstance(classifier.head, nn.Identity)
    images = pictures(2, 8, 3)
    assert classifier(images).shape == (2, 10)
    assert classifier(images).equal(classifier.backbone(classifier.normalize(images)))


def test_a_users_network_that_cannot_take_the_images_says_so() -> None:
    with pytest.raises(ConfigError, match="tiny_networks:narrow can't take images of 8×8 with 3 channels"):
        build_classifier(own("narrow"), images_of(8, 3))


def test_a_users_network_gets_its_own_arguments_too() -> None:
    model = ModelConfig(target="tiny_networks:tiny", args={"width": 3, "norm": True})
    assert build_classifier(model, images_of(8, 1)).features(pictures(2, 8, 1)).shape == (2, 3 * 4 * 4)


def test_a_network_that_gives_another_number_of_scores_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"answers \[1, 2\] for one image, not scores \[1, 10\]"):
        build_classifier(own("two_scores"), images_of(8, 1))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:build", "No module named 'no_such_module'"),
        ("tiny_networks:huge", "has no function huge"),
        ("tiny_networks:no_network", "returned str, not a torch.nn.Module"),
        ("tiny_networks:Pooled", "unexpected keyword argument 'image_size'"),
    ],
)
def test_a_target_that_gives_no_network_is_one_message(target: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        build_classifier(ModelConfig(target=target), images_of(8, 1))
    assert str(caught.value).startswith(f"model.target={target}")


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet10t"])
def test_an_argument_that_a_network_does_not_take_is_one_message(name: str) -> None:
    with pytest.raises(ConfigError, match="no_such_argument"):
        build_classifier(ModelConfig(name=name, args={"no_such_argument": 1}), images_of(32, 3))


def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_statistics() -> None:
    model = ModelConfig(target="tiny_networks:tiny", args={"norm": True}, freeze_backbone=True)
    classifier = build_classifier(model, images_of(8, 1)).train()
    before = {name: value.clone() for name, value in classifier.backbone.state_dict().items()}
    classifier(pictures(4, 8, 1)).sum().backward()
    assert all(parameter.grad is None for parameter in classifier.backbone.parameters())
    assert classifier.head.weight.grad is not None
    after = classifier.backbone.state_dict()
    assert all(after[name].equal(value) for name, value in before.items())
    assert classifier.training
    assert not any(module.training for module in classifier.backbone.backbone.modules())  # type: ignore[union-attr]


def test_the_settings_of_dropout_go_to_the_networks_own_layers() -> None:
    with torch.device("meta"):
        classifier = build_classifier(ModelConfig(name="vgg11", dropout=0.25), images_of(224, 3))
    own = [layer.p for layer in classifier.backbone.modules() if isinstance(layer, nn.Dropout)]
    assert own == [0.25, 0.25]
    assert classifier.dropout.p == 0


def test_a_network_without_dropout_layers_drops_features() -> None:
    assert build_classifier(ModelConfig(name="small_cnn", dropout=0.25), images_of(28, 1)).dropout.p == 0.25
    assert build_classifier(ModelConfig(name="small_cnn"), images_of(28, 1)).dropout.p == 0


def test_dropout_has_no_place_in_a_network_without_dropout_and_head() -> None:
    with pytest.raises(ConfigError, match=r"neither a nn.Dropout nor a last linear layer") as caught:
        build_classifier(ModelConfig(target="tiny_networks:pooled", dropout=0.1), images_of(8, 1))
    assert caught.value.key == "model.dropout"


def test_convolutions_start_as_the_identity_behind_the_whitening_layer() -> None:
    model = ModelConfig(name="small_cnn", args={"width": 16}, whitening=True, conv_init="dirac")
    first = build_classifier(model, images_of(28, 1)).backbone.network[0][0]  # type: ignore[index]
    images = torch.randn(1, 16, 4, 4)
    torch.testing.assert_close(first(images), images)


@pytest.mark.parametrize("start", [{"whitening": True}, {"conv_init": "dirac"}])
def test_downloaded_weights_are_not_overwritten_by_another_start(start: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"model.pretrained=true and .* contradict each other") as caught:
        build_classifier(ModelConfig(pretrained=True, **start), images_of(32, 3))
    assert caught.value.key == f"model.{next(iter(start))}"


def test_a_regression_answers_a_number_for_each_target() -> None:
    data = images_of(8, 1, classes=2, task="regression", target_mean=[50.0, -1.0], target_std=[2.0, 0.1])
    classifier = build_classifier(own("tiny"), data).eval()
    answers = classifier(pictures(4, 8, 1))
    assert answers.shape == (4, 2)
    assert answers[:, 0].sub(50).abs().max() < 10
    assert answers[:, 1].add(1).abs().max() < 0.5


def test_a_regression_without_its_targets_scale_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="must be complete"):
        build_classifier(own("tiny"), images_of(8, 1, task="regression"))


def test_several_labels_get_a_logit_each() -> None:
    classifier = build_classifier(own("tiny"), images_of(8, 1, classes=3, task="multilabel"))
    assert classifier(pictures(2, 8, 1)).shape == (2, 3)
