from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from mlstack.bundle.reference import light_of
from mlstack.monitoring.statistics import ks_test, mean_test
from mlstack.monitoring.watched import grid_light

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina")


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    """uint8 [420, 224, 224, 3]: parts of photographs, of random size and place."""
    random = np.random.default_rng(0)
    pictures = []
    for name in PHOTOGRAPHS:
        photograph = Image.fromarray(getattr(data, name)())
        for _ in range(60):
            side = int(random.integers(150, min(photograph.size)))
            left, top = (int(random.integers(0, size - side + 1)) for size in photograph.size)
            part = photograph.crop((left, top, left + side, top + side))
            pictures.append(np.asarray(part.resize((224, 224), Image.Resampling.BILINEAR)))
    return np.stack(pictures)


def test_a_grid_of_a_photograph_tells_its_light_nearly_as_well_as_all_pixels(crops: NDArray[np.uint8]) -> None:
    for ours, exact in zip(grid_light(crops), light_of(crops), strict=True):
        error = ours - exact
        assert abs(error.mean()) < 0.1  # of 255: no bias
        assert error.std() < 0.05 * exact.std()  # adds less than a hundredth to the variance between pictures
        assert np.abs(error).max() < 6


def test_the_difference_is_no_drift(crops: NDArray[np.uint8]) -> None:
    for ours, exact in zip(grid_light(crops), light_of(crops), strict=True):
        assert ks_test(exact, ours).p_value > 0.99
        assert mean_test(exact, ours).p_value > 0.9
