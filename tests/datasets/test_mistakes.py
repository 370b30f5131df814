"""Mistakes with data that people make, each ending in one clear message."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import pytest

from mlstack.config import DataConfig
from mlstack.datasets import load_dataset
from mlstack.errors import MLStackError

OWN = """
import numpy as np
from mlstack.datasets.build import dataset_from_arrays
def number(config): return 3
def fails(config): return {}["missing"]
def labels(config):
    parts = {p: (np.zeros((4, 5, 5, 1), np.uint8), np.array([0, 1, 2, 7])) for p in ("train", "val", "test")}
    return dataset_from_arrays(config, parts, name="own", classes=["a", "b", "c"])
def partial(config):
    parts = {p: (np.zeros((4, 5, 5, 1), np.uint8), np.arange(4)) for p in ("train", "val")}
    return dataset_from_arrays(config, parts, name="own", classes="abcd")
"""

MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a misspelt name": ({"name": "cifar11"}, ["cifar11", "data.name=cifar1"]),
    "an unknown name": ({"name": "flowers"}, ["flowers", "digits", "data.target"]),
    "an image folder without a path": ({"name": "image_folder"}, ["data.path"]),
    "a path that is not there": ({"name": "image_folder", "path": "phtos"}, ["phtos", "no folder"]),
    "a path that is a file": ({"name": "image_folder", "path": "file"}, ["file", "not a folder"]),
    "a folder without class folders": ({"name": "image_folder", "path": "loose"}, ["loose", "class folders"]),
    "a single class": ({"name": "image_folder", "path": "single"}, ["one class", "cats"]),
    "val without train": ({"name": "image_folder", "path": "noval"}, ["val/", "no train/"]),
    "two names for one split": ({"name": "image_folder", "path": "twice"}, ["val", "valid", "remove one"]),
    "a class that training lacks": ({"name": "image_folder", "path": "extra"}, ["val/birds"]),
    "classes that are empty": ({"name": "image_folder", "path": "empty"}, ["empty classes (2)"]),
    "too few images to split": ({"name": "image_folder", "path": "few"}, ["too few"]),
    "imagenet that was not placed": ({"name": "imagenet"}, ["data/imagenet", "image-net.org"]),
    "too few class names": ({"name": "digits", "classes": ["a", "b"]}, ["data.classes", "2 names", "10 classes"]),
    "two channels": ({"name": "digits", "channels": 2}, ["data.channels=2"]),
    "a mean for three channels of grey": ({"name": "digits", "mean": [0.5, 0.5, 0.5]}, ["data.mean", "1 channels"]),
    "a deviation of zero": ({"name": "digits", "std": [0.0]}, ["data.std", "above 0"]),
    "a cut-off CIFAR file": ({"name": "cifar10", "path": "cut"}, ["data_batch_3.bin", "3073"]),
    "a missing CIFAR file": ({"name": "cifar10", "path": "lacking"}, ["data_batch_2.bin"]),
    "CIFAR-100 labels in CIFAR-10": ({"name": "cifar10", "path": "labels"}, ["label", "10 classes"]),
    "CIFAR's python version": ({"name": "cifar10", "path": "python"}, ["python version", "binary"]),
    "a broken CIFAR archive": ({"name": "cifar10", "path": "archive"}, ["can't be unpacked"]),
    "a broken idx file": ({"name": "fashion_mnist", "path": "idx"}, ["train-images", "idx"]),
    "an idx file that is not zipped": (
        {"name": "fashion_mnist", "path": "unzipped"},
        ["train-labels", "can't be read"],
    ),
    "a target without a colon": ({"target": "flowers"}, ["module:callable"]),
    "a target that can't be imported": ({"target": "no_such_module:load"}, ["no_such_module"]),
    "a target with a syntax error": ({"target": "broken_module:load"}, ["broken_module", "line 1"]),
    "a target without that function": ({"target": "own_set:laod"}, ["laod", "labels"]),
    "a target that returns something else": ({"target": "own_set:number"}, ["int", "Dataset"]),
    "a target that fails": ({"target": "own_set:fails"}, ["KeyError", "missing"]),
    "a target with labels beyond its classes": ({"target": "own_set:labels"}, ["labels from 0 to 7", "3 classes"]),
    "a target without a test split": ({"target": "own_set:partial"}, ["no split test"]),
}


@pytest.fixture
def workplace(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("file").write_text("")
    Path("own_set.py").write_text(OWN)
    Path("broken_module.py").write_text("def (")
    make.image(Path("loose/a.jpg"))
    make.folder(Path("single"), classes=("cats",), count=2)
    for part in ("noval/val", "twice/train", "twice/val", "twice/valid", "extra/train"):
        make.folder(Path(part), count=3)
    make.folder(Path("extra/val"), classes=("cats", "birds"), count=1)
    for name in ("empty/a", "empty/b", "python/cifar-10-batches-py", "archive"):
        Path(name).mkdir(parents=True)
    make.folder(Path("few"), count=2)
    for name in ("cut", "lacking", "labels"):
        make.cifar(Path(name))
    Path("cut/data_batch_3.bin").write_bytes(bytes(5000))
    Path("lacking/data_batch_2.bin").unlink()
    Path("labels/data_batch_1.bin").write_bytes(bytes([77]) + bytes(3072))
    Path("archive/cifar-10-binary.tar.gz").write_bytes(b"<html>")
    for name in ("idx", "unzipped"):
        make.idx(Path(name))
    with gzip.open("idx/train-images-idx3-ubyte.gz", "wb") as file:
        file.write(bytes((0, 0, 8, 3)) + bytes(100))
    Path("unzipped/train-labels-idx1-ubyte.gz").write_bytes(bytes((0, 0, 8, 1)) + bytes(10))


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_clear_message(mistake: str) -> None:
    options, parts = MISTAKES[mistake]
    with pytest.raises(MLStackError) as caught:
        load_dataset(DataConfig(**options))
    text = str(caught.value)
    assert len(text.splitlines()) <= 8
    for part in parts:
        assert part in text
