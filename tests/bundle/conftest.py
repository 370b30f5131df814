from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from whole_bundle import write_whole_bundle


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle with two models. Look, don't touch."""
    return write_whole_bundle(tmp_path_factory.mktemp("written") / "bundle", int8_noise=0.01)


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))
