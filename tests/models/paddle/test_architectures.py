from __future__ import annotations

import math

import paddle
import pytest

from mlstack.models.paddle.efficientnet import EFFICIENTNETS

pytestmark = pytest.mark.framework

# As torchvision's documents give them, for 1,000 classes; of other widths and depths each.
PARAMETERS = {
    "efficientnet_b1": 7_794_184,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b5": 30_389_784,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_an_efficientnet_has_as_many_parameters_as_torchvision_s(name: str) -> None:
    with paddle.LazyGuard():  # shapes without memory
        network = EFFICIENTNETS[name](num_classes=1000)
    # Paddle counts the running statistics of norms among the parameters: they don't learn.
    learnt = [one for one in network.parameters() if not one.stop_gradient]
    assert sum(math.prod(one.shape) for one in learnt) == PARAMETERS[name]
