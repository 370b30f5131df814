from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import make_model

from mlstack.errors import BundleError
from mlstack.export.memory import peak_memory


def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    held = np.ones(50_000_000)  # 400 MB here must not count there
    small = peak_memory(make_model(tmp_path / "model.onnx"), (1, 8, 8, 1))
    assert 20 < small < 200 < held.nbytes / 2**20


def test_a_larger_batch_needs_more(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model.onnx", size=64, width=16)
    assert peak_memory(model, (64, 64, 64, 1)) > peak_memory(model, (1, 64, 64, 1)) + 10


def test_a_file_that_cannot_be_run_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match=r"model\.onnx could not be run in a process of its own: .*Protobuf parsing"):
        peak_memory(tmp_path / "model.onnx", (1, 8, 8, 1))
