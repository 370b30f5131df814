from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.config import AugmentConfig, DataConfig
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.derived import with_derived
from mlstack.datasets.images import FileImages, MappedImages
from mlstack.datasets.loader import BatchLoader
from mlstack.errors import MLStackError

COUNT = 20


@pytest.fixture
def folder(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/0.png to photos/19.png; a table is written beside that folder."""
    monkeypatch.chdir(tmp_path)
    for index in range(COUNT):
        make.image(tmp_path / "photos" / f"{index}.png", seed=index, size=(24, 18))
    return tmp_path


def write(path: Path, header: str, rows: list[str], *, encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return path


def load(table: Path, task: str = "regression", **options: Any) -> Dataset:
    return load_dataset(DataConfig(name="image_table", table=str(table), task=task, **options))


def by_name(dataset: Dataset) -> dict[str, list[float]]:
    """The labels of every picture, over all splits."""
    return {
        name: np.atleast_1d(label).tolist()
        for split in dataset.splits.values()
        for name, label in zip(split.names, split.labels, strict=True)
    }


def test_a_regression_learns_the_columns_of_numbers(folder: Path) -> None:
    table = write(folder / "t.csv", "file,price,size", [f"photos/{i}.png,{i * 10},{i / 4}" for i in range(COUNT)])
    dataset = load(table)
    assert (dataset.task, dataset.classes) == ("regression", ("price", "size"))
    assert by_name(dataset) == {f"photos/{i}.png": [i * 10, i / 4] for i in range(COUNT)}
    train = dataset.splits["train"].labels
    assert train.dtype == np.float32 and train.shape == (16, 2)
    assert {part: len(split) for part, split in dataset.splits.items()} == {"train": 16, "val": 2, "test": 2}
    assert dataset.target_mean == pytest.approx(train.mean(axis=0)) and dataset.target_std == pytest.approx(
        train.std(axis=0)
    )
    assert (dataset.image_size, dataset.channels) == (18, 3)


def test_derived_settings_hold_the_targets_mean_and_deviation(folder: Path) -> None:
    table = write(folder / "t.csv", "file,price", [f"photos/{i}.png,{i}" for i in range(COUNT)])
    config = DataConfig(name="image_table", table=str(table), task="regression", target_std=[3.0])
    dataset = load_dataset(config)
    derived = with_derived(config, dataset)
    assert derived.target_mean == [dataset.splits["train"].labels.mean(dtype=np.float64)]
    assert derived.target_std == [3.0] and derived.classes == ["price"]


def test_a_classification_learns_one_column_of_names(folder: Path) -> None:
    table = write(folder / "t.csv", "file,animal", [f"photos/{i}.png,{'猫狗'[i % 2]}" for i in range(COUNT)])
    dataset = load(table, "classification")
    assert dataset.classes == ("狗", "猫") and dataset.target_mean is None
    assert by_name(dataset) == {f"photos/{i}.png": [1 - i % 2] for i in range(COUNT)}
    assert np.bincount(dataset.splits["test"].labels).tolist() == [1, 1]  # class by class


def test_class_names_that_are_numbers_are_in_their_order(folder: Path) -> None:
    table = write(folder / "t.csv", "file,digit", [f"photos/{i}.png,{i % 4 * 5}" for i in range(COUNT)])
    assert load(table, "classification").classes == ("0", "5", "10", "15")


def test_several_labels_are_columns_of_zero_and_one(folder: Path) -> None:
    table = write(folder / "t.csv", "file,red,round", [f"photos/{i}.png,{i % 2},{i // 2 % 2}" for i in range(COUNT)])
    dataset = load(table, "multilabel")
    assert (dataset.task, dataset.classes) == ("multilabel", ("red", "round"))
    assert by_name(dataset) == {f"photos/{i}.png": [i % 2, i // 2 % 2] for i in range(COUNT)}
    assert dataset.splits["train"].labels.dtype == np.float32
    assert load(table, "multilabel", targets=["round"]).classes == ("round",)


def test_several_labels_are_a_list_in_one_cell_and_an_empty_one_has_none(folder: Path) -> None:
    lists = ["red|round", "", "round", " blue | red "]
    table = write(folder / "t.csv", "file,labels", [f"photos/{i}.png,{lists[i % 4]}" for i in range(COUNT)])
    dataset = load(table, "multilabel")
    assert dataset.classes == ("blue", "red", "round")
    expected = [[0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 1, 0]]
    assert by_name(dataset) == {f"photos/{i}.png": expected[i % 4] for i in range(COUNT)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_delimiter_and_byte_order_mark_are_found_out(folder: Path, delimiter: str, encoding: str) -> None:
    rows = [delimiter.join((str(i), '"a,b;c"', f"photos/{i}.png", "")) for i in range(COUNT)]
    table = write(folder / "t.csv", delimiter.join(("price", "note", "file", "")), rows, encoding=encoding)
    assert by_name(load(table, targets=["price"]))["photos/7.png"] == [7]


@pytest.mark.parametrize("column", ["File", "FILENAME", "image", "Path", "name", "照片"])
def test_the_column_of_file_names_is_found(folder: Path, column: str) -> None:
    table = write(folder / "t.csv", f"price,{column}", [f"{i},photos/{i}.png" for i in range(COUNT)])
    assert load(table).classes == ("price",)


def test_a_column_called_name_that_names_no_files_is_a_target(folder: Path) -> None:
    long = "x" * 300  # too long for a file name
    rows = [f"{'AB'[i % 2]}{long},photos/{i}.png" for i in range(COUNT)]
    table = write(folder / "t.csv", "name,照片", rows)
    assert load(table, "classification").classes == (f"A{long}", f"B{long}")


def test_file_names_may_be_written_on_windows_and_in_chinese(folder: Path, make: Any) -> None:
    make.image(folder / "照片" / "一.png", seed=99)
    rows = [f".\\photos\\{i}.png,{i}" for i in range(COUNT)] + ["照片/一.png,99"]
    dataset = load(write(folder / "价格.csv", "文件,价格", rows))
    assert dataset.classes == ("价格",)
    assert by_name(dataset)["照片/一.png"] == [99] and by_name(dataset)["photos/3.png"] == [3]


def test_file_names_are_relative_to_the_table_or_to_the_path(folder: Path) -> None:
    rows = [f"{i}.png,{i}" for i in range(COUNT)]
    beside = load(write(folder / "photos" / "t.csv", "file,price", rows))
    elsewhere = load(write(folder / "t.csv", "file,price", rows), path="photos")
    assert by_name(beside) == by_name(elsewhere)
    assert beside.fingerprint == elsewhere.fingerprint


def test_a_tables_own_split_is_kept(folder: Path) -> None:
    words = ["train", "Training", "valid", "testing"]
    rows = [f"photos/{i}.png,{i},{words[i % 4]}" for i in range(COUNT)]
    dataset = load(write(folder / "t.csv", "file,price,Split", rows))
    assert dataset.classes == ("price",)
    assert {part: len(split) for part, split in dataset.splits.items()} == {"train": 10, "val": 5, "test": 5}
    assert list(dataset.splits["val"].names) == [f"photos/{i}.png" for i in range(2, COUNT, 4)]


def test_splits_of_other_tasks_are_drawn_with_the_split_seed(folder: Path) -> None:
    table = write(folder / "t.csv", "file,price", [f"photos/{i}.png,{i}" for i in range(COUNT)])
    names = [tuple(load(table, split_seed=seed).splits["test"].names) for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_the_fingerprint_changes_with_a_label_and_with_nothing_else(folder: Path) -> None:
    rows = [f"photos/{i}.png,{i}" for i in range(COUNT)]
    first = load(write(folder / "a.csv", "file,price", rows)).fingerprint
    assert first == load(write(folder / "b.csv", "file;price", [row.replace(",", ";") for row in rows])).fingerprint
    rows[3] = "photos/3.png,3.5"
    assert first != load(write(folder / "c.csv", "file,price", rows)).fingerprint


def test_pictures_are_decoded_lazily_or_from_the_cache_to_the_same_bytes(folder: Path) -> None:
    table = write(folder / "t.csv", "file,price", [f"photos/{i}.png,{i}" for i in range(COUNT)])
    lazy, cached = load(table), load(table, cache="disk")
    assert isinstance(lazy.splits["train"].images, FileImages)
    assert isinstance(cached.splits["train"].images, MappedImages)
    assert cached.fingerprint == lazy.fingerprint
    batches = [
        BatchLoader(data.splits["train"], batch_size=4, image_size=18, augment=AugmentConfig(flip=0.5)).batch(0, 0)
        for data in (lazy, cached)
    ]
    assert np.array_equal(batches[0].images, batches[1].images)
    assert batches[0].labels.shape == (4, 1)


GOOD = [f"photos/{i}.png,{i}" for i in range(COUNT)]
MISTAKES: dict[str, tuple[str, list[str], dict[str, Any], list[str]]] = {
    "no rows": ("file,price", [], {}, ["has no rows", "file,price"]),
    "an empty file": ("", [], {}, ["is empty"]),
    "missing files": (
        "file,price",
        [*GOOD, "photos/x.png,1", "photos/y.png,2"],
        {},
        ["missing files (2)", "line 22: photos/x.png"],
    ),
    "every file missing": ("file,price", [f"nowhere/{i}.png,1" for i in range(9)], {}, ["missing files (9)", "…"]),
    "not a number": ("file,price", [*GOOD[1:], "photos/0.png,cheap"], {}, ["not a number (1)", "price: cheap"]),
    "a decimal comma": ("file;price", ["photos/0.png;3,5"], {}, ["not a number", "3,5"]),
    "nan": ("file,price", [*GOOD[1:], "photos/0.png,nan"], {}, ["not a number", "nan"]),
    "beyond float32": ("file,price", [*GOOD[1:], "photos/0.png,1e39"], {}, ["not a number", "1e39"]),
    "a number as Python writes it": ("file,price", [*GOOD[1:], "photos/0.png,1_0"], {}, ["not a number", "1_0"]),
    "an empty cell": ("file,price", [*GOOD[1:], "photos/0.png,"], {}, ["empty cells (1)", "line 21, price"]),
    "an empty file name": ("file,price", [*GOOD, ",3"], {}, ["empty cells (1)", "line 22, file"]),
    "an empty class": (
        "file,animal",
        ["photos/0.png,cat", "photos/1.png,dog", "photos/2.png,"],
        {"task": "classification"},
        ["empty cells", "line 4, animal"],
    ),
    "a duplicate file": ("file,price", [*GOOD, "./photos/0.png,5"], {}, ["duplicate files (1)", "as in line 2"]),
    "an unknown column": ("file,price", GOOD, {"targets": ["prize"]}, ["prize", "allowed: price", "data.targets"]),
    "the column of files as a target": ("file,price", GOOD, {"targets": ["file"]}, ["data.targets", "allowed: price"]),
    "a target named twice": ("file,price", GOOD, {"targets": ["price", "price"]}, ["each once"]),
    "no target named": ("file,price", GOOD, {"targets": []}, ["at least one"]),
    "nothing to learn": ("file", [f"photos/{i}.png" for i in range(3)], {}, ["nothing to learn"]),
    "no column of files": ("price,size", ["1,2"], {}, ["no column of file names", "filename"]),
    "uneven rows": ("file,price", [*GOOD, "photos/0.png,1,2"], {}, ["have not 2 cells", "line 22 has 3"]),
    "a column without a name": ("file,,price", ["photos/0.png,1,2"], {}, ["no name for its column 2"]),
    "two columns of a name": ("file,a,a", ["photos/0.png,1,2"], {}, ["two columns of the name a"]),
    "an open quote": ("file,price", [*GOOD, 'photos/0.png,"1'], {}, ["not a CSV", "line 22"]),
    "a strange split": ("file,price,split", ["photos/0.png,1,trian"], {}, ["neither train nor val", "line 2: trian"]),
    "no training rows": ("file,price,split", ["photos/0.png,1,val"], {}, ["no row of the split train"]),
    "two columns of classes": (
        "file,a,b",
        ["photos/0.png,x,y"],
        {"task": "classification"},
        ["learns one column", "a, b", "data.targets=[a]"],
    ),
    "one class": (
        "file,a",
        ["photos/0.png,x", "photos/1.png,x"],
        {"task": "classification"},
        ["one class only (x)"],
    ),
    "numbers as classes": (
        "file,price",
        [f"photos/{i}.png,{i}.5" for i in range(COUNT)],
        {"task": "classification"},
        ["not names of classes", "data.task=regression"],
    ),
    "a class that training lacks": (
        "file,a,split",
        ["photos/0.png,x,train", "photos/1.png,y,train", "photos/2.png,z,val", "photos/3.png,w,test"],
        {"task": "classification"},
        ["classes that the training images lack (2): w, z"],
    ),
    "neither 0 nor 1": ("file,a,b", ["photos/0.png,1,2"], {"task": "multilabel"}, ["neither 0 nor 1 (1)", "b: 2"]),
    "no labels at all": (
        "file,a",
        ["photos/0.png,|", "photos/1.png,"],
        {"task": "multilabel"},
        ["no labels", "red|round"],
    ),
    "a corrupt picture": ("file,price", ["broken.png,1", *GOOD], {}, ["corrupt images (1): broken.png"]),
    "too few": ("file,price", GOOD[:2], {}, ["too few"]),
    "a folder that is not there": ("file,price", GOOD, {"path": "nowhere"}, ["no folder nowhere", "data.path"]),
    "a deviation of zero": ("file,price", GOOD, {"target_std": [0.0]}, ["data.target_std", "above 0"]),
    "two means of one target": (
        "file,price",
        GOOD,
        {"target_mean": [0.0, 1.0]},
        ["data.target_mean has 2", "1 targets"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_table_ends_in_one_clear_message(mistake: str, folder: Path) -> None:
    header, rows, options, parts = MISTAKES[mistake]
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    table = write(folder / "t.csv", header, rows)
    with pytest.raises(MLStackError) as caught:
        load(table, **({"task": "regression"} | options))
    text = str(caught.value)
    assert len(text.splitlines()) <= 8
    for part in parts:
        assert part in text


def test_several_kinds_of_mistakes_come_in_one_message(folder: Path) -> None:
    rows = ["photos/0.png,a", "photos/1.png,", "x.png,3", "photos/0.png,4"]
    with pytest.raises(MLStackError) as caught:
        load(write(folder / "t.csv", "file,price", rows))
    assert "4 problems in" in str(caught.value)
    for kind in ("not a number", "empty cells", "missing files", "duplicate files"):
        assert kind in str(caught.value)


@pytest.mark.parametrize("encoding", ["gbk", "utf-16"])
def test_another_encoding_is_named(folder: Path, encoding: str) -> None:
    table = write(folder / "t.csv", "文件,价格", GOOD, encoding=encoding)
    with pytest.raises(MLStackError, match="is not UTF-8"):
        load(table)


def test_a_table_has_to_be_given_and_there() -> None:
    with pytest.raises(MLStackError, match=r"needs data\.table"):
        load_dataset(DataConfig(name="image_table"))
    with pytest.raises(MLStackError, match="No such file"):
        load(Path("no.csv"))
