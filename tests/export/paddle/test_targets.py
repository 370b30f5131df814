"""What starts from a network of torch is refused for a run of Paddle, before either framework is imported."""

from __future__ import annotations

import pytest

from mlstack.engines.network_files import check_network_files
from mlstack.errors import ConfigError


def test_a_run_of_paddle_has_to_be_converted_first() -> None:
    with pytest.raises(ConfigError, match=r"target=torchscript starts from .*, and this run is of paddle"):
        check_network_files("paddle", needed_for="target=torchscript")
