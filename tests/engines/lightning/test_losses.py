from __future__ import annotations

import pytest

from mlstack.config import DataConfig, ModelConfig
from mlstack.engines.lightning.losses import build_loss

pytestmark = pytest.mark.framework


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("cross_entropy", {"class_weights": [1.0, 2.0, 3.0]}),
        ("focal", {"alpha": [1.0, 2.0, 3.0]}),
        ("bce", {"pos_weight": [1.0, 2.0, 3.0]}),
        ("mse", {}),
    ],
)
def test_weights_move_with_the_loss(name: str, args: dict[str, list[float]]) -> None:
    data = DataConfig(classes=["a", "b", "c"], target_std=[2.0])
    loss = build_loss(ModelConfig(loss=name, loss_args=args), data)
    assert [buffer.device.type for buffer in loss.to("meta").buffers()] == ["meta"]
