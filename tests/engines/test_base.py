from __future__ import annotations

import numpy as np
import pytest

from mlstack.engines import Predictions, create_engine
from mlstack.errors import ConfigError


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.engine=jax is unknown") as caught:
        create_engine("jax")
    assert caught.value.allowed == ("lightning",)


def test_the_prediction_is_the_likeliest_class() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0]], np.float32)
    assert Predictions(probabilities, np.array([0, 0]), np.arange(2)).predicted.tolist() == [1, 0]
