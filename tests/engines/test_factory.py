from __future__ import annotations

import pytest

from mlstack.engines import create_engine
from mlstack.errors import ConfigError


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.engine=jax is unknown") as caught:
        create_engine("jax")
    assert caught.value.allowed == ("lightning",)
