from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

pytestmark = pytest.mark.framework

IMPORT = """
import logging, sys
mine = logging.getLogger("mine")
mine.addHandler(logging.NullHandler())
mine.setLevel(logging.ERROR)
handler = logging.NullHandler()
logging.root.addHandler(handler)
logging.root.setLevel(logging.CRITICAL)
import mlstack.models.paddle
loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
assert "paddle" in sys.modules
assert logging.root.handlers == [handler] and logging.root.level == logging.CRITICAL
assert len(mine.handlers) == 1 and mine.level == logging.ERROR
assert len(loggers) > 30  # Paddle's
assert all(not one.handlers and not one.level and one.propagate for one in loggers if one is not mine)
"""


def test_importing_paddle_says_nothing_and_leaves_logging_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1D(3), nn.BatchNorm2D(3), nn.BatchNorm3D(3)], ids=lambda norm: norm.__class__
)
def test_batch_norm_does_not_warn_and_still_counts_the_batch(norm: nn.Layer) -> None:
    shape = [4, 3, 2, 2, 2][: {"BatchNorm1D": 2, "BatchNorm2D": 4, "BatchNorm3D": 5}[type(norm).__name__]]
    numbers = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers = norm(paddle.to_tensor(numbers)).numpy()
    others = tuple(axis for axis in range(len(shape)) if axis != 1)
    np.testing.assert_allclose(answers.mean(axis=others), 0, atol=1e-6)
    np.testing.assert_allclose(norm._mean.numpy(), 0.1 * numbers.mean(axis=others), rtol=1e-5)
    norm.eval()
    assert not np.allclose(norm(paddle.to_tensor(numbers)).numpy(), answers)


def test_batch_norm_still_refuses_what_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="4D"):
        nn.BatchNorm2D(3)(paddle.zeros([4, 3]))
