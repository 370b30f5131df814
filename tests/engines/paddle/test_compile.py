"""`trainer.compile=true` with Paddle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.commands.train import complete
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.engines.factory import weight_files
from mlstack.runs import RunFolder

from ...conftest import configuration

pytestmark = pytest.mark.framework


def trained(tmp_path: Path, name: str, **settings: Any) -> RunFolder:
    config = configuration(tmp_path, "paddle", **{"trainer__max_steps": 3, **settings})
    dataset = load_dataset(config.data)
    config, run = complete(config, dataset), RunFolder(tmp_path / name)
    run.path.mkdir()
    run.write_config(config)
    create_engine("paddle").fit(config, dataset, run)
    return run


@pytest.mark.parametrize("is_taught_and_rounds", [False, True])
def test_a_compiled_network_learns_what_it_learns_otherwise(is_taught_and_rounds: bool, tmp_path: Path) -> None:
    settings: dict[str, Any] = {}
    if is_taught_and_rounds:
        teacher = trained(tmp_path, "teacher", trainer__max_epochs=1, trainer__max_steps=None)
        settings = {"trainer__quantization_aware": True, "distill__teacher": str(teacher.path)}
    weights = []
    for compiled in (False, True):
        run = trained(tmp_path, f"compiled_{compiled}", trainer__compile=compiled, **settings)
        weights.append(weight_files("paddle").read_weights(run.checkpoint("last")))
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, atol=1e-5, err_msg=name)
