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
