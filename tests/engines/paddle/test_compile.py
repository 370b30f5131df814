"""`trainer.compile=true` with Paddle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlstack.commands.train import complete
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.engines.factory import weight_files
from mlstack.runs import RunFolder

from ...conftest import configuration

pytestmark = pytest.mark.framework


def test_a_compiled_network_learns_what_it_learns_otherwise(tmp_path: Path) -> None:
    weights = []
    for compiled in (False, True):
        settings = {"trainer__max_steps": 3, "trainer__compile": compiled}
        config = configuration(tmp_path, "paddle", **settings)
        dataset = load_dataset(config.data)
        run = RunFolder(tmp_path / f"compiled_{compiled}")
        run.path.mkdir()
        create_engine("paddle").fit(complete(config, dataset), dataset, run)
        weights.append(weight_files("paddle").read_weights(run.checkpoint("last")))
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, atol=1e-5, err_msg=name)
