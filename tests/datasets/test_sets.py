from __future__ import annotations

import gzip
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.config import DataConfig
from mlstack.datasets import Dataset, fashion_mnist, load_dataset
from mlstack.datasets.splits import stratified
from mlstack.errors import ConfigError


def all_pictures(dataset: Dataset, part: str) -> np.ndarray:
    images = dataset.splits[part].images
    return images.read(np.arange(len(images)))


def test_digits_come_with_every_class_in_every_split() -> None:
    digits = load_dataset(DataConfig(name="digits"))
    assert (digits.image_size, digits.channels, digits.classes) == (8, 1, tuple("0123456789"))
    assert sum(len(split) for split in digits.splits.values()) == 1797
    for split in digits.splits.values():
        assert set(split.labels) == set(range(10))
    everything = all_pictures(digits, "train")
    assert everything.min() == 0 and everything.max() == 255


def test_the_seventeen_levels_of_the_digits_are_spread_over_a_byte() -> None:
    levels = sorted(set(all_pictures(load_dataset(DataConfig(name="digits")), "train").ravel().tolist()))
    assert levels == [math.floor(level * 255 / 16 + 0.5) for level in range(17)]


OWN_STATISTICS = """
import dataclasses
import numpy as np
from mlstack.datasets.build import dataset_from_arrays
def load(config):
    parts = {part: (np.full((4, 5, 5, 1), 51, np.uint8), np.array([0, 1, 0, 1])) for part in ("train", "val", "test")}
    made = dataset_from_arrays(config, parts, name="own", classes=["a", "b"])
    return dataclasses.replace(made, mean=(0.25,), std=(0.75,))
def fixed(config):
    return load(type(config)())
"""


def test_the_config_s_statistics_win_over_those_that_an_own_set_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_statistics.py").write_text(OWN_STATISTICS)
    monkeypatch.syspath_prepend(tmp_path)
    returned = load_dataset(DataConfig(target="own_statistics:load"))
    given = load_dataset(DataConfig(target="own_statistics:load", mean=[0.5], std=[0.125]))
    assert (returned.mean, returned.std) == ((0.25,), (0.75,))
    assert (given.mean, given.std) == ((0.5,), (0.125,))


@pytest.mark.parametrize(("key", "value", "returned"), [("image_size", 4, 5), ("image_size", 6, 5), ("channels", 3, 1)])
def test_an_own_set_of_another_size_than_asked_for_is_refused(
    key: str, value: int, returned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_statistics.py").write_text(OWN_STATISTICS)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"data.{key}={value}, but .* returned {key} {returned}") as caught:
        load_dataset(DataConfig(target="own_statistics:fixed", **{key: value}))
    assert caught.value.key == f"data.{key}"


def test_splits_follow_the_split_seed_alone() -> None:
    labels = [load_dataset(DataConfig(name="digits", split_seed=seed)).fingerprint for seed in (0, 0, 1)]
    assert labels[0] == labels[1] != labels[2]


def test_a_stratified_split_divides_and_keeps_the_mix() -> None:
    labels = np.repeat([0, 1, 2, 3], [100, 50, 3, 2])
    kept, held = stratified(labels, fraction=0.2, seed=0, stream=1)
    assert sorted([*kept, *held]) == list(range(155))
    assert list(np.bincount(labels[held], minlength=4)) == [20, 10, 1, 0]


def test_mean_and_std_are_those_of_the_training_pictures() -> None:
    digits = load_dataset(DataConfig(name="digits", image_size=16, channels=3))
    pictures = all_pictures(digits, "train") / 255
    assert np.allclose(digits.mean, pictures.mean(axis=(0, 1, 2)), atol=1e-5)
    assert np.allclose(digits.std, pictures.std(axis=(0, 1, 2)), atol=1e-5)


def test_what_the_config_gives_wins() -> None:
    names = [f"digit {number}" for number in range(10)]
    config = DataConfig(name="digits", image_size=20, channels=3, mean=[0.1, 0.2, 0.3], std=[1, 1, 1], classes=names)
    digits = load_dataset(config)
    assert (digits.image_size, digits.channels) == (20, 3)
    assert (digits.mean, digits.std, digits.classes) == ((0.1, 0.2, 0.3), (1, 1, 1), tuple(names))
    assert all_pictures(digits, "val").shape[1:] == (20, 20, 3)


def test_cifar_planes_become_pixels_and_names_are_read(tmp_path: Path, make: Any) -> None:
    folder = make.cifar(tmp_path)
    dataset = load_dataset(DataConfig(name="cifar10", path=str(tmp_path)))
    raw = np.fromfile(folder / "test_batch.bin", np.uint8).reshape(50, 3073)
    assert dataset.classes == tuple(f"word{label}" for label in range(10))
    assert np.array_equal(all_pictures(dataset, "test")[7, :, :, 2].ravel(), raw[7, 1 + 2048 :])
    assert np.array_equal(dataset.splits["test"].labels, raw[:, 0])


def test_cifar100_takes_the_fine_label(tmp_path: Path, make: Any) -> None:
    make.cifar(tmp_path / "cifar-100-binary", "cifar100")
    dataset = load_dataset(DataConfig(name="cifar100", path=str(tmp_path)))
    assert len(dataset.classes) == 100
    assert list(dataset.splits["test"].labels[:3]) == [0, 1, 2]


def test_colour_becomes_grey_by_its_luma(tmp_path: Path, make: Any) -> None:
    make.cifar(tmp_path)
    colour, grey = (load_dataset(DataConfig(name="cifar10", path=str(tmp_path), channels=n)) for n in (3, 1))
    expected = all_pictures(colour, "test") @ np.array([0.299, 0.587, 0.114])
    assert np.abs(all_pictures(grey, "test")[..., 0] - expected).max() <= 0.51


def test_fashion_mnist_is_read_zipped_or_not(tmp_path: Path, make: Any) -> None:
    folder = make.idx(tmp_path)
    zipped = load_dataset(DataConfig(name="fashion_mnist", path=str(folder)))
    for path in list(folder.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    plain = load_dataset(DataConfig(name="fashion_mnist", path=str(folder)))
    assert zipped.fingerprint == plain.fingerprint
    assert zipped.classes[9] == "Ankle boot" and zipped.image_size == 28 and zipped.channels == 1


def test_debians_copy_of_fashion_mnist_is_found_before_anything_is_fetched(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", make.idx(tmp_path / "debian"))
    assert len(load_dataset(DataConfig(name="fashion_mnist", download=False)).splits["test"]) == 20


def test_a_set_of_your_own_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "stripes.py").write_text(
        "import numpy as np\n"
        "from mlstack.datasets.build import dataset_from_arrays\n"
        "def load(config):\n"
        "    labels = np.arange(40) % 2\n"
        "    pictures = np.zeros((40, 6, 6, 1), np.uint8)\n"
        "    pictures[labels == 1, ::2] = config.args['brightness']\n"
        "    parts = {part: (pictures, labels) for part in ('train', 'val', 'test')}\n"
        "    return dataset_from_arrays(config, parts, name='stripes', classes=['plain', 'striped'])\n"
    )
    dataset = load_dataset(DataConfig(target="stripes:load", args={"brightness": 200}, image_size=12, std=[0.5]))
    assert (dataset.name, dataset.classes, dataset.image_size) == ("stripes", ("plain", "striped"), 12)
    assert dataset.std == (0.5,)


def test_data_need_no_training_framework() -> None:
    code = (
        "import sys; from mlstack.config import DataConfig; from mlstack.datasets import load_dataset\n"
        "from mlstack.datasets.loader import BatchLoader\n"
        "import mlstack.commands.download\n"
        "load_dataset(DataConfig(name='digits'))\n"
        "print(sorted({'torch', 'torchvision', 'paddle', 'sklearn', 'scipy', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
