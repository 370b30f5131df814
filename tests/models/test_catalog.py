from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torchvision

from mlstack.errors import ConfigError, MissingPackageError
from mlstack.models import catalog
from mlstack.models.catalog import check_name, registered_names

pytestmark = pytest.mark.framework

REFUSE = """
import sys
from mlstack.commands.train import train
from mlstack.config import Config, DataConfig, ModelConfig
from mlstack.errors import ConfigError
try:
    train(Config(model=ModelConfig(name="resnet19"), data=DataConfig(name="digits")))
except ConfigError as error:
    print(error)
print(sorted({"torch", "torchvision", "pytorch_lightning"} & set(sys.modules)))
"""


def test_the_names_read_from_torchvisions_sources_are_those_that_it_registers() -> None:
    assert registered_names("torchvision") == set(torchvision.models.list_models(module=torchvision.models))


def test_the_names_read_from_timms_sources_are_those_that_it_registers() -> None:
    assert registered_names("timm") == set(timm.list_models())


@pytest.mark.parametrize(
    "name", ["small_cnn", "resnet18", "convnext_tiny", "timm/vit_tiny_patch16_224", "timm/resnet18.a1_in1k"]
)
def test_a_known_name_passes(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet19", "resnet18"),
        ("smal_cnn", "small_cnn"),
        ("mobilenet_v3", "mobilenet_v3_large"),
        ("timm/resnet19", "timm/resnet18"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match="has no such architecture") as caught:
        check_name(name)
    assert nearest in caught.value.hint


def test_an_unknown_name_is_refused_before_torch_is_imported() -> None:
    answer = subprocess.run([sys.executable, "-c", REFUSE], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("model.name=resnet19: torchvision has no such architecture\nnearest: resnet1")
    assert answer.stdout.splitlines()[-1] == "[]"


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown library 'keras'") as caught:
        check_name("keras/resnet50")
    assert "timm/" in caught.value.hint


def test_a_timm_name_without_timm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"model.name=timm/resnet18 needs the package timm") as caught:
        check_name("timm/resnet18")
    assert "pip install 'timm==" in str(caught.value)


def test_a_library_that_is_not_installed_has_no_names() -> None:
    assert registered_names("no_such_package") == frozenset()
