from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError, DownloadError
from mlstack.models.pytorch import build_classifier

from .conftest import images_of

pytestmark = pytest.mark.framework

WEIGHTS = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT
MODEL = ModelConfig(name="mobilenet_v3_small", pretrained=True)


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def urlopen(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", urlopen)


@pytest.fixture
def in_the_cache(tmp_path: Path) -> Callable[[], dict[str, torch.Tensor]]:
    """Put weights of the right shapes, under the right name, where torch keeps its downloads."""

    def put() -> dict[str, torch.Tensor]:
        state = torchvision.models.mobilenet_v3_small().state_dict()
        path = tmp_path / "hub" / "checkpoints" / Path(WEIGHTS.url).name
        path.parent.mkdir(parents=True)
        torch.save(state, path)
        return state

    return put


def test_weights_that_cannot_be_downloaded_are_one_message() -> None:
    with pytest.raises(DownloadError, match="weights of mobilenet_v3_small can't be downloaded") as caught:
        build_classifier(MODEL, images_of(32, 3))
    assert "Name or service not known" in str(caught.value)
    assert "model.pretrained=false" in caught.value.hint
    assert Path(WEIGHTS.url).name in caught.value.hint


def test_weights_in_the_cache_are_loaded(in_the_cache: Callable[[], dict[str, torch.Tensor]]) -> None:
    state = in_the_cache()
    backbone = build_classifier(MODEL, images_of(32, 3)).backbone.state_dict()
    assert all(value.equal(state[name]) for name, value in backbone.items())
    assert len(backbone) == len(state) - 2  # the head's weight and bias


def test_loaded_filters_are_summed_for_grey_images(in_the_cache: Callable[[], dict[str, torch.Tensor]]) -> None:
    state = in_the_cache()
    backbone = build_classifier(MODEL, images_of(32, 1)).backbone.state_dict()
    first = "features.0.0.weight"
    torch.testing.assert_close(backbone[first], state[first].sum(dim=1, keepdim=True))


def test_weights_that_do_not_fit_the_arguments_are_one_message(
    in_the_cache: Callable[[], dict[str, torch.Tensor]],
) -> None:
    in_the_cache()
    model = ModelConfig(name="mobilenet_v3_small", pretrained=True, args={"width_mult": 0.5})
    with pytest.raises(ConfigError, match="the pretrained weights of mobilenet_v3_small don't fit"):
        build_classifier(model, images_of(32, 3))


def test_timm_weights_that_cannot_be_downloaded_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("timm.models._builder.load_pretrained", load)
    model = ModelConfig(name="timm/resnet10t", pretrained=True)
    with pytest.raises(DownloadError, match="weights of timm/resnet10t can't be downloaded") as caught:
        build_classifier(model, images_of(32, 3))
    assert "HF_ENDPOINT" in caught.value.hint
