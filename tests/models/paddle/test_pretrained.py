from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle.utils import download
from paddle.vision.models import mobilenet_v3_small, mobilenetv3

from mlstack.config import ModelConfig
from mlstack.errors import ConfigError, DownloadError
from mlstack.models.paddle import build_classifier
from mlstack.models.paddle.pretrained import read_weights

from ..conftest import images_of

pytestmark = pytest.mark.framework

MODEL = ModelConfig(name="mobilenet_v3_small", pretrained=True)
FILE = "mobilenet_v3_small_x1.0.pdparams"
Weights = dict[str, NDArray[Any]]


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(download, "WEIGHTS_HOME", str(tmp_path))
    monkeypatch.setattr(download.httpx, "stream", stream)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)


@pytest.fixture
def in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Weights]:
    """Put weights under Paddle's own names, as Paddle writes them, where it keeps its downloads."""

    def put() -> Weights:
        paddle.seed(5)
        network = mobilenet_v3_small()
        path = tmp_path / FILE
        paddle.save(network.state_dict(), str(path))
        url, _ = mobilenetv3.model_urls["mobilenet_v3_small_x1.0"]
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setitem(mobilenetv3.model_urls, "mobilenet_v3_small_x1.0", (url, digest))
        return {name: np.array(value.numpy()) for name, value in network.state_dict().items()}

    return put


def test_weights_that_cannot_be_downloaded_are_one_message() -> None:
    with pytest.raises(DownloadError, match="weights of mobilenet_v3_small can't be downloaded") as caught:
        build_classifier(MODEL, images_of(32, 3))
    assert "model.pretrained=false" in caught.value.hint
    assert FILE in caught.value.hint


def test_weights_in_the_cache_are_loaded_though_paddle_names_the_layers_otherwise(
    in_the_cache: Callable[[], Weights],
) -> None:
    weights = in_the_cache()
    network = mobilenet_v3_small()
    network.set_state_dict(weights)
    network.classifier[3] = paddle.nn.Identity()
    network.eval()
    classifier = build_classifier(MODEL, images_of(32, 3))
    classifier.eval()
    images = paddle.randn([2, 3, 32, 32])
    np.testing.assert_allclose(classifier.backbone(images).numpy(), network(images).numpy(), rtol=1e-5, atol=1e-6)


def test_loaded_filters_are_summed_for_grey_images(in_the_cache: Callable[[], Weights]) -> None:
    weights = in_the_cache()
    first = build_classifier(MODEL, images_of(32, 1)).backbone.features[0][0].weight.numpy()
    np.testing.assert_allclose(first, weights["conv.0.weight"].sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit_the_arguments_are_one_message(in_the_cache: Callable[[], Weights]) -> None:
    in_the_cache()
    model = ModelConfig(name="mobilenet_v3_small", pretrained=True, args={"width_mult": 0.5})
    with pytest.raises(ConfigError, match="the pretrained weights of mobilenet_v3_small don't fit"):
        build_classifier(model, images_of(32, 3))


def test_a_network_without_weights_is_refused_before_any_download() -> None:
    with pytest.raises(ConfigError, match=r"paddle\.vision has no weights for it"):
        build_classifier(ModelConfig(name="efficientnet_b0", pretrained=True), images_of(32, 3))


class Harmful:
    """Runs code when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1 + 1",)


def test_a_file_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pdparams"
    path.write_bytes(pickle.dumps({"weight": Harmful()}))
    with pytest.raises(pickle.UnpicklingError, match="eval has no place in a file of weights"):
        read_weights(path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_and_plain_containers_are_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "weights.pdparams"
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float64([1.5])}
    content = {**arrays, "c": ("linear_0.w_0", arrays["a"]), "StructuredToParameterName@@": {"a": "linear_0.w_0"}}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    weights = read_weights(path)
    assert set(weights) == {"a", "b", "c"}
    np.testing.assert_array_equal(weights["c"], arrays["a"])
