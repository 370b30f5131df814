from __future__ import annotations

import pytest
import timm
import torchvision

from mlstack.errors import ConfigError, MissingPackageError
from mlstack.models import catalog
from mlstack.models.catalog import check_name, registered_names

pytestmark = pytest.mark.framework


def test_the_names_read_from_torchvisions_sources_are_those_that_it_registers() -> None:
    assert registered_names("torchvision") == set(torchvision.models.list_models(module=torchvision.models))


def test_the_names_read_from_timms_sources_are_those_that_it_registers() -> None:
    assert registered_names("timm") == set(timm.list_models())


@pytest.mark.parametrize("name", ["convnext_tiny", "timm/vit_tiny_patch16_224", "timm/resnet18.a1_in1k"])
def test_a_known_name_passes(name: str) -> None:
    check_name(name, "lightning")


def test_an_unknown_timm_name_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match="timm has no such architecture") as caught:
        check_name("timm/resnet19", "lightning")
    assert "timm/resnet18" in caught.value.hint


def test_a_timm_name_without_timm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"model.name=timm/resnet18 needs the package timm") as caught:
        check_name("timm/resnet18", "lightning")
    assert "pip install 'timm==" in str(caught.value)
