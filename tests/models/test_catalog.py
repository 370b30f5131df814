from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from mlstack.errors import ConfigError
from mlstack.models import catalog
from mlstack.models.catalog import OWN_NETWORKS, check_name, check_same_layers, known_names, registered_names

pytestmark = pytest.mark.framework

REFUSE = """
import sys
from mlstack.commands.train import train
from mlstack.config import Config, DataConfig, ModelConfig, TrainerConfig
from mlstack.errors import ConfigError
try:
    train(Config(model=ModelConfig(name="resnet19"), data=DataConfig(name="digits"),
                 trainer=TrainerConfig(engine=sys.argv[1])))
except ConfigError as error:
    print(error)
print(sorted({"torch", "torchvision", "pytorch_lightning", "paddle"} & set(sys.modules)))
"""
LIBRARIES = {"lightning": "torchvision", "paddle": "paddle.vision"}


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "efficientnet_b0", "mobilenet_v3_small", "vgg11"])
def test_a_known_name_passes_with_every_engine(engine: str, name: str) -> None:
    check_name(name, engine)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("resnet19", "resnet18"), ("smal_cnn", "small_cnn"), ("mobilenet_v3_larg", "mobilenet_v3_large")],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(engine: str, name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"{LIBRARIES[engine]} has no such architecture") as caught:
        check_name(name, engine)
    assert nearest in caught.value.hint
    assert "trainer.engine" not in caught.value.hint


def test_an_unknown_name_is_refused_before_a_framework_is_imported(engine: str) -> None:
    answer = subprocess.run([sys.executable, "-c", REFUSE, engine], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith(f"model.name=resnet19: {LIBRARIES[engine]} has no such architecture\nnearest: ")
    assert answer.stdout.splitlines()[-1] == "[]"


def test_an_unknown_library_is_refused(engine: str) -> None:
    with pytest.raises(ConfigError, match="unknown library 'keras'") as caught:
        check_name("keras/resnet50", engine)
    assert LIBRARIES[engine] in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "name", "other"),
    [
        ("paddle", "convnext_tiny", "lightning"),
        ("paddle", "timm/vit_tiny_patch16_224", "lightning"),
        ("lightning", "mobilenet_v1", "paddle"),
    ],
)
def test_an_architecture_of_the_other_engine_is_refused_with_that_engines_name(
    engine: str, name: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "paddle_names", lambda: frozenset({"resnet18", "mobilenet_v1"}))
    monkeypatch.setattr(catalog, "registered_names", lambda _: frozenset({"resnet18", "convnext_tiny"}))
    monkeypatch.setattr(catalog, "ENGINES", ("lightning", "paddle"))
    with pytest.raises(ConfigError, match="has no such architecture") as caught:
        check_name(name, engine)
    assert f"trainer.engine={other} has it" in caught.value.hint


@pytest.mark.parametrize("name", sorted(OWN_NETWORKS["paddle"] | OWN_NETWORKS["lightning"]))
def test_the_own_networks_of_one_engine_are_known_to_the_other_too(engine: str, name: str) -> None:
    assert name in known_names(engine)


def test_each_own_network_is_built_in_this_package(layers: Any) -> None:
    engine = layers.__name__.removeprefix("layers_")
    assert OWN_NETWORKS[engine] >= {"small_cnn"}
    if engine == "paddle":
        libraries = import_module("mlstack.models.paddle.libraries")
        assert OWN_NETWORKS[engine] == {"small_cnn", *libraries.WRITTEN_HERE}


def test_a_library_that_is_not_installed_has_no_names() -> None:
    assert registered_names("no_such_package") == frozenset()


def test_without_its_library_an_engine_takes_any_name(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "paddle_names", frozenset)
    monkeypatch.setattr(catalog, "registered_names", lambda _: frozenset())
    check_name("resnet19", engine)


@pytest.mark.parametrize(("name", "key"), [("densenet121", "model.name"), ("shufflenet_v2_x1_0", "model.name")])
def test_networks_whose_layers_have_other_names_elsewhere_are_not_converted(engine: str, name: str, key: str) -> None:
    with pytest.raises(ConfigError, match="layers with other names") as caught:
        check_same_layers(name, engine, has_arguments=False)
    assert caught.value.key == key


def test_arguments_of_the_other_library_are_not_converted(engine: str) -> None:
    check_same_layers("efficientnet_b0", engine, has_arguments=True)  # the arguments are torchvision's on both sides
    with pytest.raises(ConfigError, match="arguments of the other library"):
        check_same_layers("resnet18", engine, has_arguments=True)
