from __future__ import annotations

import sys

import pytest

from mlstack.config import DataConfig, ModelConfig
from mlstack.errors import MissingPackageError
from mlstack.models.pytorch import build_classifier

pytestmark = pytest.mark.framework

DATA = DataConfig(classes=["cat", "dog"], image_size=32, channels=3, mean=[0.5] * 3, std=[0.25] * 3)


@pytest.fixture
def _no_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)


@pytest.mark.usefixtures("_no_torchvision")
def test_only_networks_of_torchvision_need_torchvision() -> None:
    assert build_classifier(ModelConfig(name="small_cnn"), DATA).head.out_features == 2
    with pytest.raises(MissingPackageError, match=r"model\.name=resnet18 needs the package torchvision") as caught:
        build_classifier(ModelConfig(name="resnet18"), DATA)
    assert "pip install 'torchvision==" in str(caught.value)
