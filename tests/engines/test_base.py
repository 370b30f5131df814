from __future__ import annotations

import numpy as np

from mlstack.engines import Predictions


def test_the_prediction_is_the_likeliest_class() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0]], np.float32)
    assert Predictions(probabilities, np.array([0, 0]), np.arange(2)).predicted.tolist() == [1, 0]
