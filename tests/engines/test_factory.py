from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlstack.config.trainer import ENGINES
from mlstack.engines import create_engine
from mlstack.engines.factory import PINS
from mlstack.errors import ConfigError, MissingPackageError
from mlstack.validation.machine import read_pins

ROOT = Path(__file__).parents[2]


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.engine=jax is unknown") as caught:
        create_engine("jax")
    assert caught.value.allowed == ENGINES


def test_the_pins_in_messages_are_those_of_the_requirements() -> None:
    pins = read_pins(ROOT / "requirements-cpu.txt")
    for pin in PINS.values():
        package, _, version = pin.partition("==")
        assert pins.get(package, version) == version  # who has deleted an engine has dropped its line


def test_an_engine_whose_framework_is_missing_names_the_command_that_installs_it(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"lightning": "torch", "paddle": "paddle"}[engine]
    for name in [name for name in sys.modules if name.startswith(f"mlstack.engines.{engine}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=package) as caught:
        create_engine(engine)
    assert PINS[package] in str(caught.value)
