from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlstack.config import AugmentConfig, DataConfig
from mlstack.datasets import load_dataset
from mlstack.datasets.images import FileImages
from mlstack.datasets.loader import BatchLoader
from mlstack.datasets.shares import kept_positions
from mlstack.errors import ConfigError

TENTHS = [1.0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.001]


def test_each_class_keeps_its_share_and_at_least_one() -> None:
    whole = load_dataset(DataConfig(name="digits")).splits["train"]
    thinned = load_dataset(DataConfig(name="digits", class_shares=TENTHS)).splits["train"]
    before, after = np.bincount(whole.labels), np.bincount(thinned.labels, minlength=10)
    assert after.tolist() == [max(1, round(n * share)) for n, share in zip(before, TENTHS, strict=True)]
    assert after[9] == 1


def test_pictures_labels_and_names_stay_together() -> None:
    whole = load_dataset(DataConfig(name="digits")).splits["train"]
    thinned = load_dataset(DataConfig(name="digits", class_shares=TENTHS)).splits["train"]
    places = [list(whole.names).index(name) for name in thinned.names]
    assert places == sorted(places)
    assert np.array_equal(thinned.labels, whole.labels[places])
    everything = np.arange(len(places))
    assert np.array_equal(thinned.images.read(everything), whole.images.read(np.array(places)))
    assert len(thinned.images) == len(thinned) and thinned.images.side == 8


def test_only_training_is_thinned_and_the_fingerprint_tells() -> None:
    whole, thinned, all_kept = (
        load_dataset(DataConfig(name="digits", class_shares=shares)) for shares in (None, TENTHS, [1.0] * 10)
    )
    for part in ("val", "test"):
        assert np.array_equal(whole.splits[part].labels, thinned.splits[part].labels)
    assert (thinned.mean, thinned.std) == (whole.mean, whole.std)
    assert whole.fingerprint == all_kept.fingerprint != thinned.fingerprint


def test_the_split_seed_draws_and_a_larger_share_keeps_what_a_smaller_one_kept() -> None:
    labels = np.arange(300) % 3
    draw = {
        (seed, share): kept_positions(labels, [share, 1, 0.2], seed=seed) for seed in (0, 1) for share in (0.3, 0.6)
    }
    assert np.array_equal(draw[0, 0.3], kept_positions(labels, [0.3, 1, 0.2], seed=0))
    assert not np.array_equal(draw[0, 0.3], draw[1, 0.3])
    assert set(draw[0, 0.3]) < set(draw[0, 0.6])


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_a_folder_of_pictures_is_thinned_too(photos: Path, cache: str) -> None:
    whole, thinned = (
        load_dataset(DataConfig(name="image_folder", path=str(photos), cache=cache, class_shares=shares))
        for shares in (None, [1.0, 0.3])
    )
    train = thinned.splits["train"]
    assert np.bincount(train.labels).tolist() == [10, 3]
    places = np.array([list(whole.splits["train"].names).index(name) for name in train.names])
    assert np.array_equal(train.images.read(np.arange(13)), whole.splits["train"].images.read(places))
    assert isinstance(train.images, FileImages) == (cache == "none")
    loader = BatchLoader(train, batch_size=4, image_size=20, shuffle=True, augment=AugmentConfig(resized_crop=0.3))
    assert loader.batch(0, 0).images.shape == (4, 20, 20, 3)


def test_there_has_to_be_a_share_for_each_class() -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset(DataConfig(name="digits", class_shares=[0.5, 0.5]))
    assert caught.value.key == "data.class_shares"
    assert "2 shares" in str(caught.value) and "10 classes" in str(caught.value) and "0, 1, 2" in str(caught.value)
