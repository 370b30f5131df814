from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.models.pytorch import Classifier

from .conftest import pictures

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_are_normalised_inside_the_network(channels_last: bool) -> None:
    mean, std = [0.5, 0.4, 0.3], [0.25, 0.2, 0.5]
    classifier = Classifier(nn.Identity(), nn.Identity(), mean=mean, std=std, channels_last=channels_last)
    images = pictures(2, 4, 3)
    expected = (images.double() / 255 - torch.tensor(mean).double()) / torch.tensor(std).double()
    normal = classifier.normalize(images)
    torch.testing.assert_close(normal, expected.permute(0, 3, 1, 2).float(), rtol=0, atol=1e-6)
    assert normal.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_one_pixel_is_normalised_as_worked_out_by_hand() -> None:
    classifier = Classifier(nn.Identity(), nn.Identity(), mean=[0.5], std=[0.25], channels_last=True)
    image = torch.full((1, 1, 1, 1), 51, dtype=torch.uint8)  # 51 / 255 = 0.2; (0.2 - 0.5) / 0.25 = -1.2
    assert classifier.normalize(image).item() == pytest.approx(-1.2)


def test_normalisation_is_rebuilt_from_the_settings_not_from_checkpoints() -> None:
    classifier = Classifier(nn.Linear(2, 2), nn.Identity(), mean=[0.5], std=[0.25], channels_last=False)
    assert set(classifier.state_dict()) == {"backbone.weight", "backbone.bias"}


def test_the_answers_of_a_regression_are_in_the_targets_own_units() -> None:
    head = nn.Linear(4, 2)
    units = {"target_mean": [100.0, -3.0], "target_std": [10.0, 0.5]}
    classifier = Classifier(nn.Flatten(), head, mean=[0.5], std=[0.25], channels_last=False, **units)
    images = pictures(3, 2, 1)
    standardised = head(classifier.features(images))
    expected = standardised * torch.tensor([10.0, 0.5]) + torch.tensor([100.0, -3.0])
    torch.testing.assert_close(classifier(images), expected)
    assert set(classifier.state_dict()) == {"head.weight", "head.bias"}


def flipping(*, test_time_flip: bool = True) -> Classifier:
    """A network that sees left from right."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU())
    settings = {"mean": [0.5], "std": [0.25], "channels_last": False}
    return Classifier(backbone, nn.Linear(5, 3), **settings, test_time_flip=test_time_flip)  # type: ignore[arg-type]


def test_with_test_time_flip_a_picture_and_its_mirror_image_get_the_mean_of_both_answers() -> None:
    flips, plain, images = flipping().eval(), flipping(test_time_flip=False).eval(), pictures(4, 4, 1)
    mirrored = images.flip(2)
    assert not plain(images).allclose(plain(mirrored))
    torch.testing.assert_close(flips(images), (plain(images) + plain(mirrored)) / 2)
    torch.testing.assert_close(flips(images), flips(mirrored))
    torch.testing.assert_close(flips.features(images), (plain.features(images) + plain.features(mirrored)) / 2)
    assert flips.head(flips.features(images)).equal(flips(images))


def test_test_time_flip_changes_nothing_while_training() -> None:
    images = pictures(4, 4, 1)
    assert flipping().train()(images).equal(flipping(test_time_flip=False).train()(images))


def test_a_network_with_test_time_flip_can_be_exported_with_a_free_batch_size() -> None:
    classifier = flipping().eval()
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(classifier, (pictures(2, 4, 1),), dynamic_shapes=shapes).module()
    images = pictures(5, 4, 1)
    torch.testing.assert_close(exported(images), classifier(images))


def test_dropout_acts_on_the_features_and_only_while_training() -> None:
    dropping = Classifier(nn.Flatten(), nn.Identity(), mean=[0.5], std=[0.25], channels_last=False, dropout=0.5)
    images = torch.full((1, 20, 20, 1), 255, dtype=torch.uint8)
    assert dropping.eval()(images).equal(dropping.features(images))
    values = set(dropping.train()(images).flatten().tolist())
    assert values == {0.0, 4.0}  # 2 or nothing, doubled
