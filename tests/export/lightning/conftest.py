from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def engine() -> str:
    """These tests are about this one."""
    return "lightning"
