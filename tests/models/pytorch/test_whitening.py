from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError
from mlstack.models.pytorch import Classifier, build_classifier, whiten, whitening

from .conftest import images_of

pytestmark = pytest.mark.framework

SHIPPED = ("small_cnn", "resnet18", "efficientnet_b0", "mobilenet_v3_small", "vit_b_16", "timm/resnet10t")


def cloudy(number: int, size: int, channels: int) -> torch.Tensor:
    """uint8 [number, size, size, channels] whose neighbouring pixels are alike, as in photographs."""
    noise = torch.rand(number, channels, size + 4, size + 4)
    smooth = nn.functional.avg_pool2d(noise, 5, stride=1)
    return (255 * (smooth - smooth.min()) / (smooth.max() - smooth.min())).to(torch.uint8).permute(0, 2, 3, 1)


def whitened(name: str = "small_cnn", *, channels: int = 1, size: int = 28) -> Classifier:
    return build_classifier(ModelConfig(name=name, whitening=True), images_of(size, channels))


def responses(classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
    """What the filters answer to whole patches, without those at the border: [filter, place]."""
    answers = classifier.backbone.whitening(classifier.normalize(images))[..., 1:-1, 1:-1]  # type: ignore[operator]
    return answers.permute(1, 0, 2, 3).flatten(1).detach()


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 24)])  # of 9 and 27 patterns: those that fill blocks of 16
def test_the_filters_make_patterns_of_a_patch_uncorrelated_and_equally_strong(
    channels: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whitening, "EPSILON", 1e-9)
    classifier, images = whitened(channels=channels), cloudy(200, 28, channels)
    before = torch.cov(responses(classifier, images)[:size])
    assert len(before) == size == classifier.backbone.whitening.out_channels / 2  # type: ignore[union-attr]
    assert before[0, 1] > 0.5 * before[0, 0]
    whiten(classifier, images)
    after = responses(classifier, images)
    torch.testing.assert_close(torch.cov(after[:size]), torch.eye(size), rtol=0, atol=5e-3)  # of float32 filters
    torch.testing.assert_close(after[size:], -after[:size])


def test_the_weakest_pattern_is_the_one_left_out() -> None:
    classifier, images = whitened(), cloudy(200, 28, 1)
    whiten(classifier, images)
    norms = classifier.backbone.whitening.weight[:8].flatten(1).norm(dim=1)  # type: ignore[index,union-attr]
    assert norms.diff().min() > 0  # the strongest pattern needs the least scaling
    patches = nn.functional.unfold(classifier.normalize(images), 3).transpose(1, 2).reshape(-1, 9)
    values = torch.linalg.eigvalsh(torch.cov(patches.T).double()).flip(0)
    torch.testing.assert_close(norms, (values + whitening.EPSILON).rsqrt()[:8].float(), rtol=1e-2, atol=0)


def test_epsilon_keeps_a_filter_small_whose_pattern_never_occurs() -> None:
    classifier = whitened()
    whiten(classifier, torch.full((10, 28, 28, 1), 7, dtype=torch.uint8))  # nothing but one colour
    norms = classifier.backbone.whitening.weight.flatten(1).norm(dim=1)  # type: ignore[operator,union-attr]
    torch.testing.assert_close(norms, torch.full((16,), whitening.EPSILON**-0.5), rtol=1e-3, atol=0)


def test_images_are_looked_at_in_pieces_without_changing_the_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = whitened(), whitened()
    images = cloudy(10, 28, 1)
    whiten(one, images)
    monkeypatch.setattr(whitening, "FLOATS_AT_ONCE", 3 * 28 * 28 * 9)
    whiten(other, images)
    first, second = (classifier.state_dict()["backbone.whitening.weight"] for classifier in (one, other))
    torch.testing.assert_close(first.abs(), second.abs(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", SHIPPED)
def test_any_network_with_a_first_convolution_can_follow(name: str) -> None:
    with torch.device("meta"):
        size = 224 if name.startswith("vit") else 32
        classifier = whitened(name, channels=3, size=size)
        images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        assert classifier(images).shape == (2, 10)
        first = next(layer for layer in classifier.backbone.network.modules() if isinstance(layer, nn.Conv2d))  # type: ignore[union-attr]
        assert first.in_channels == 48


def test_the_filters_do_not_learn_and_everything_else_does() -> None:
    classifier = build_classifier(ModelConfig(name="resnet18", whitening=True), images_of(8, 1))
    frozen = [name for name, parameter in classifier.named_parameters() if not parameter.requires_grad]
    assert frozen == ["backbone.whitening.weight"]
    whiten(classifier, cloudy(4, 8, 1))
    assert not classifier.backbone.whitening.weight.requires_grad  # type: ignore[union-attr]


def test_a_checkpoint_brings_the_filters_along() -> None:
    trained, fresh = whitened().eval(), whitened().eval()
    images = cloudy(20, 28, 1)
    whiten(trained, images)
    assert not trained(images).allclose(fresh(images))
    fresh.load_state_dict(trained.state_dict())
    assert trained(images).equal(fresh(images))


def test_a_network_without_whitening_is_left_alone() -> None:
    classifier = build_classifier(ModelConfig(name="small_cnn"), images_of(28, 1))
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    whiten(classifier, cloudy(4, 28, 1))
    assert all(value.equal(before[name]) for name, value in classifier.state_dict().items())


def test_a_network_without_a_convolution_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no convolution that could follow") as caught:
        build_classifier(ModelConfig(target="tiny_networks:scaled", whitening=True), images_of(8, 1))
    assert caught.value.key == "model.whitening"


def test_a_frozen_backbone_can_be_whitened_too() -> None:
    model = ModelConfig(target="tiny_networks:tiny", whitening=True, freeze_backbone=True)
    classifier = build_classifier(model, images_of(8, 1))
    whiten(classifier, cloudy(20, 8, 1))
    filters = classifier.state_dict()["backbone.backbone.whitening.weight"]
    assert filters.norm() > 1.5 * 16**0.5  # no more the single pixels of an untrained layer
