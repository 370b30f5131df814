from __future__ import annotations

from mlstack.config import DataConfig
from mlstack.datasets import load_dataset
from mlstack.datasets.derived import with_derived


def test_what_follows_from_the_data_is_filled_in_and_the_rest_kept() -> None:
    config = DataConfig(name="digits", batch_size=7)
    derived = with_derived(config, load_dataset(config))
    assert (derived.image_size, derived.channels, derived.batch_size) == (8, 1, 7)
    assert derived.classes == [str(digit) for digit in range(10)]
    assert derived.mean is not None and 0.2 < derived.mean[0] < 0.4
    assert derived.std is not None and 0.3 < derived.std[0] < 0.5
    assert config.classes is None


def test_what_is_given_stays() -> None:
    config = DataConfig(name="digits", image_size=16, channels=3, mean=[0.5] * 3, std=[0.25] * 3)
    derived = with_derived(config, load_dataset(config))
    assert (derived.image_size, derived.channels) == (16, 3)
    assert (derived.mean, derived.std) == ([0.5] * 3, [0.25] * 3)
