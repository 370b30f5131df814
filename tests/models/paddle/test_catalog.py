from __future__ import annotations

import importlib

import pytest
from paddle.vision import models

from mlstack.models.catalog import check_pretrained, paddle_names, paddle_pretrained

pytestmark = pytest.mark.framework


def test_the_names_read_from_paddles_sources_are_those_of_its_builders() -> None:
    assert paddle_names() == {name for name in models.__all__ if name == name.lower()}


def test_each_name_with_pretrained_weights_is_one_of_a_builder() -> None:
    assert paddle_pretrained() <= paddle_names()
    assert len(paddle_pretrained()) > 20


@pytest.mark.parametrize("name", sorted(paddle_pretrained()))
def test_the_address_of_pretrained_weights_is_found_by_the_networks_name(name: str) -> None:
    pretrained = importlib.import_module("mlstack.models.paddle.pretrained")
    url, md5 = pretrained._source(name)
    assert url.startswith("https://") and len(md5) == 32
    check_pretrained(name, "paddle")
