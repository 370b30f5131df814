from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.models.pytorch import Classifier

from .conftest import pictures

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("channels_last", [True, False])
def test_pixels_lie_in_memory_as_asked(channels_last: bool) -> None:
    classifier = Classifier(nn.Identity(), nn.Identity(), mean=[0.5] * 3, std=[0.25] * 3, channels_last=channels_last)
    normal = classifier.normalize(pictures(2, 4, 3))
    assert normal.is_contiguous(memory_format=torch.channels_last) == channels_last
    expected = (pictures(2, 4, 3).double() / 255 - 0.5) / 0.25
    assert normal.shape == expected.permute(0, 3, 1, 2).shape


def test_a_network_with_test_time_flip_can_be_exported_with_a_free_batch_size() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU())
    classifier = Classifier(
        backbone, nn.Linear(5, 3), mean=[0.5], std=[0.25], channels_last=False, test_time_flip=True
    ).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(classifier, (pictures(2, 4, 1),), dynamic_shapes=shapes).module()
    images = pictures(5, 4, 1)
    torch.testing.assert_close(exported(images), classifier(images))
