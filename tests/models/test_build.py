from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlstack.config import DataConfig, ModelConfig
from mlstack.errors import ConfigError

from .conftest import images_of, own, pictures

pytestmark = pytest.mark.framework

# Each shipped network once with small grey and small colour pictures, but the large ones with one kind only.
SHIPPED = [
    ("resnet18", 8, 1),
    ("resnet18", 32, 3),
    ("resnet34", 8, 1),
    ("resnet50", 8, 3),
    ("efficientnet_b0", 8, 1),
    ("efficientnet_b0", 32, 3),
    ("mobilenet_v3_large", 8, 1),
    ("mobilenet_v3_large", 32, 3),
    ("mobilenet_v3_small", 8, 1),
    ("mobilenet_v3_small", 32, 3),
    ("small_cnn", 8, 1),
    ("small_cnn", 32, 3),
]


@pytest.mark.parametrize(("name", "size", "channels"), SHIPPED)
def test_a_shipped_network_scores_small_grey_and_colour_images(
    layers: Any, name: str, size: int, channels: int
) -> None:
    with layers.without_numbers():
        classifier = layers.build_classifier(ModelConfig(name=name), images_of(size, channels))
        assert tuple(classifier(layers.tensor(pictures(2, size, channels))).shape) == (2, 10)


def test_the_head_is_applied_to_the_features(layers: Any) -> None:
    classifier = layers.build_classifier(ModelConfig(name="mobilenet_v3_small"), images_of(16, 3))
    classifier.eval()
    images = layers.tensor(pictures(2, 16, 3))
    with layers.no_gradients():
        features = classifier.features(images)
        assert tuple(features.shape) == (2, 1024)
        np.testing.assert_array_equal(layers.array(classifier.head(features)), layers.array(classifier(images)))


def test_a_new_classifier_is_in_training_mode(layers: Any, engine: str) -> None:
    assert layers.build_classifier(own(engine, "tiny"), images_of(8, 1)).training


def test_the_seed_decides_the_weights(layers: Any) -> None:
    def weights(seed: int) -> Any:
        layers.seed(seed)
        classifier = layers.build_classifier(ModelConfig(name="small_cnn"), images_of(8, 1))
        return np.concatenate([value.flatten() for value in layers.state(classifier).values()])

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_a_network_that_cannot_take_8_pixels_says_so(layers: Any) -> None:
    with pytest.raises(ConfigError, match="squeezenet1_1 can't take images of 8×8 with 1 channels") as caught:
        layers.build_classifier(ModelConfig(name="squeezenet1_1"), images_of(8, 1))
    assert "data.image_size=224" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_incomplete_settings_are_the_callers_mistake(layers: Any) -> None:
    with pytest.raises(ValueError, match="must be complete"):
        layers.build_classifier(ModelConfig(), DataConfig())


def test_a_users_network_that_ends_in_a_linear_layer_is_split_there(layers: Any, engine: str) -> None:
    classifier = layers.build_classifier(own(engine, "tiny"), images_of(8, 1))
    classifier.eval()
    assert isinstance(classifier.head, layers.Linear)
    images = layers.tensor(pictures(2, 8, 1))
    assert tuple(classifier.features(images).shape) == (2, 8 * 4 * 4)
    assert tuple(classifier(images).shape) == (2, 10)


@pytest.mark.parametrize("name", ["pooled", "scaled", "cosine"])
def test_a_users_network_that_does_not_end_in_a_linear_layer_stays_whole(layers: Any, engine: str, name: str) -> None:
    classifier = layers.build_classifier(own(engine, name), images_of(8, 3))
    classifier.eval()
    assert isinstance(classifier.head, layers.Identity)
    images = layers.tensor(pictures(2, 8, 3))
    answers = layers.array(classifier(images))
    assert answers.shape == (2, 10)
    np.testing.assert_array_equal(answers, layers.array(classifier.backbone(classifier.normalize(images))))


def test_a_users_network_that_cannot_take_the_images_says_so(layers: Any, engine: str) -> None:
    with pytest.raises(ConfigError, match=r"tiny_networks_\w+:narrow can't take images of 8×8 with 3 channels"):
        layers.build_classifier(own(engine, "narrow"), images_of(8, 3))


def test_a_users_network_gets_its_own_arguments_too(layers: Any, engine: str) -> None:
    model = own(engine, "tiny", args={"width": 3, "norm": True})
    classifier = layers.build_classifier(model, images_of(8, 1))
    assert tuple(classifier.features(layers.tensor(pictures(2, 8, 1))).shape) == (2, 3 * 4 * 4)


def test_a_network_that_gives_another_number_of_scores_is_refused(layers: Any, engine: str) -> None:
    with pytest.raises(ConfigError, match=r"answers \[1, 2\] for one image, not scores \[1, 10\]"):
        layers.build_classifier(own(engine, "two_scores"), images_of(8, 1))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("huge", "has no function huge"),
        ("no_network", r"returned str, not a (torch.nn.Module|paddle.nn.Layer)"),
        ("Pooled", "unexpected keyword argument 'image_size'"),
    ],
)
def test_a_target_that_gives_no_network_is_one_message(layers: Any, engine: str, name: str, reason: str) -> None:
    model = own(engine, name)
    with pytest.raises(ConfigError, match=reason) as caught:
        layers.build_classifier(model, images_of(8, 1))
    assert str(caught.value).startswith(f"model.target={model.target}")


def test_a_target_that_is_nowhere_is_one_message(layers: Any) -> None:
    with pytest.raises(ConfigError, match="No module named 'no_such_module'"):
        layers.build_classifier(ModelConfig(target="no_such_module:build"), images_of(8, 1))


def test_an_argument_that_a_network_does_not_take_is_one_message(layers: Any) -> None:
    with pytest.raises(ConfigError, match="no_such_argument"):
        layers.build_classifier(ModelConfig(name="resnet18", args={"no_such_argument": 1}), images_of(32, 3))


def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_statistics(layers: Any, engine: str) -> None:
    model = own(engine, "tiny", args={"norm": True}, freeze_backbone=True)
    classifier = layers.build_classifier(model, images_of(8, 1))
    classifier.train()
    before = layers.state(classifier.backbone)
    classifier(layers.tensor(pictures(4, 8, 1))).sum().backward()
    gradients = layers.gradients(classifier)
    assert {name for name, gradient in gradients.items() if gradient is not None} == {"head.weight", "head.bias"}
    after = layers.state(classifier.backbone)
    assert all(np.array_equal(after[name], value) for name, value in before.items())
    assert classifier.training
    assert not any(layer.training for layer in layers.modules(classifier.backbone.backbone))


def test_the_settings_of_dropout_go_to_the_networks_own_layers(layers: Any) -> None:
    model = ModelConfig(name="mobilenet_v3_small", dropout=0.25)
    classifier = layers.build_classifier(model, images_of(8, 3))
    chances = [layer.p for layer in layers.modules(classifier.backbone) if isinstance(layer, layers.Dropout)]
    assert chances == [0.25]
    assert classifier.dropout.p == 0


def test_a_network_without_dropout_layers_drops_features(layers: Any) -> None:
    for chance, expected in ((0.25, 0.25), (None, 0)):
        classifier = layers.build_classifier(ModelConfig(name="small_cnn", dropout=chance), images_of(28, 1))
        assert classifier.dropout.p == expected


def test_dropout_has_no_place_in_a_network_without_dropout_and_head(layers: Any, engine: str) -> None:
    with pytest.raises(ConfigError, match=r"neither a nn.Dropout nor a last linear layer") as caught:
        layers.build_classifier(own(engine, "pooled", dropout=0.1), images_of(8, 1))
    assert caught.value.key == "model.dropout"


def test_convolutions_start_as_the_identity_behind_the_whitening_layer(layers: Any) -> None:
    model = ModelConfig(name="small_cnn", args={"width": 16}, whitening=True, conv_init="dirac")
    first = layers.build_classifier(model, images_of(28, 1)).backbone.network[0][0]
    images = np.random.default_rng(0).standard_normal((1, 16, 4, 4), dtype=np.float32)
    np.testing.assert_allclose(layers.array(first(layers.tensor(images))), images, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("start", [{"whitening": True}, {"conv_init": "dirac"}])
def test_downloaded_weights_are_not_overwritten_by_another_start(layers: Any, start: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"model.pretrained=true and .* contradict each other") as caught:
        layers.build_classifier(ModelConfig(pretrained=True, **start), images_of(32, 3))
    assert caught.value.key == f"model.{next(iter(start))}"


def test_a_regression_answers_a_number_for_each_target(layers: Any, engine: str) -> None:
    data = images_of(8, 1, classes=2, task="regression", target_mean=[50.0, -1.0], target_std=[2.0, 0.1])
    classifier = layers.build_classifier(own(engine, "tiny"), data)
    classifier.eval()
    answers = layers.array(classifier(layers.tensor(pictures(4, 8, 1))))
    assert answers.shape == (4, 2)
    assert abs(answers[:, 0] - 50).max() < 20
    assert abs(answers[:, 1] + 1).max() < 1


def test_a_regression_without_its_targets_scale_is_the_callers_mistake(layers: Any, engine: str) -> None:
    with pytest.raises(ValueError, match="must be complete"):
        layers.build_classifier(own(engine, "tiny"), images_of(8, 1, task="regression"))


def test_several_labels_get_a_logit_each(layers: Any, engine: str) -> None:
    classifier = layers.build_classifier(own(engine, "tiny"), images_of(8, 1, classes=3, task="multilabel"))
    assert tuple(classifier(layers.tensor(pictures(2, 8, 1))).shape) == (2, 3)
