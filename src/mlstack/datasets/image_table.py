"""Pictures that a CSV lists: data=image_table data.table=photos/prices.csv, with one of three tasks.

    file,price          data.task=regression: columns of numbers
    file,animal         data.task=classification: a column of class names
    file,red,round      data.task=multilabel: columns of 0 and 1, or one with labels like red|round

File names are relative to data.path, or else to the table's folder. A column `split` may say train, val or test.
"""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset
from mlstack.datasets.folders import SPLIT_NAMES, Found, Problems, look_at
from mlstack.datasets.image_folder import dataset_from_looks
from mlstack.datasets.places import check_folder
from mlstack.datasets.table_targets import Targets, read_targets
from mlstack.datasets.tables import TABLE_HINT, Table, read_table
from mlstack.errors import ConfigError, DataError

FILE_COLUMNS = ("file", "filename", "image", "path", "name")
SPLIT_COLUMN = "split"
PROBED = 20  # rows whose cells are tried as file names where no column is called like one


def load(config: DataConfig) -> Dataset:
    """The table `data.table`; image size and channels follow from the pictures.

    Raises:
        ConfigError: No table, or columns that do not fit the task.
        DataError: What is wrong with the table and its files, in one message.
    """
    if config.table is None:
        hint = "such as data=image_table data.table=photos/prices.csv"
        raise ConfigError("data=image_table needs data.table, a CSV file", key="data.table", hint=hint)
    table = read_table(Path(config.table).expanduser())
    root = Path(config.path).expanduser() if config.path else table.path.parent
    check_folder(root, hint="data.path is the folder to which the table's file names are relative")
    problems = Problems()
    file_column = _file_column(table, root)
    columns = _target_columns(config, table, file_column)
    targets = read_targets(table, columns, task=config.task, problems=problems)
    names = _file_names(table, file_column, root, problems)
    positions = _positions(table, problems)
    if config.task == "classification":
        _check_training(targets, positions["train"], problems)
    looks = look_at(root, [name for name in names if _is_file(root / name)], problems)
    problems.refuse(table.path, {})
    found = Found(root, targets.names, tuple(names), targets.labels, positions, looks, config.task)
    return _with_labels(dataset_from_looks(config, found), targets)


def _file_column(table: Table, root: Path) -> str:
    """The column of file names: by its own name, or else the first whose cells name files."""
    called = {name.casefold(): name for name in reversed(table.columns)}
    usual = [called[name] for name in FILE_COLUMNS if name in called]
    for name in (*usual, *table.columns):
        if any(_is_file(root / _as_path(cell)) for cell in table.column(name)[:PROBED] if cell):
            return name
    if usual:
        return usual[0]
    hint = f"call one of them {', '.join(FILE_COLUMNS[:-1])} or {FILE_COLUMNS[-1]}; its cells are relative to {root}"
    raise DataError(f"{table.path} has no column of file names: {', '.join(table.columns)}", hint=hint)


def _split_column(table: Table) -> str | None:
    return next((name for name in table.columns if name.casefold() == SPLIT_COLUMN), None)


def _target_columns(config: DataConfig, table: Table, file_column: str) -> list[str]:
    others = [name for name in table.columns if name not in (file_column, _split_column(table))]
    if not others:
        raise DataError(f"{table.path} has nothing to learn beside its column {file_column}", hint=TABLE_HINT)
    if config.targets is None:
        return others
    unknown = [name for name in config.targets if name not in others]
    if unknown:
        message = f"data.targets={config.targets}: {table.path} has no column {', '.join(unknown)} to learn"
        raise ConfigError(message, key="data.targets", allowed=others)
    if not config.targets or len(set(config.targets)) != len(config.targets):
        message = f"data.targets={config.targets} has to name at least one column, and each once"
        raise ConfigError(message, key="data.targets", allowed=others)
    return list(config.targets)


def _file_names(table: Table, column: str, root: Path, problems: Problems) -> list[str]:
    """Paths relative to `root`, with `/`."""
    names = [_as_path(cell) for cell in table.column(column)]
    lines = dict[str, int]()
    for line, name in zip(table.lines, names, strict=True):
        if not name:
            problems.add("empty cells", f"line {line}, {column}")
        elif name in lines:
            problems.add("duplicate files", f"line {line}: {name}, as in line {lines[name]}")
        elif not _is_file(root / name):
            problems.add("missing files", f"line {line}: {name}")
        lines.setdefault(name, line)
    return names


def _is_file(path: Path) -> bool:
    """Whether it is a file; a cell of prose is none, though it may be too long for a file name."""
    try:
        return path.is_file()
    except OSError:
        return False


def _as_path(cell: str) -> str:
    """Back slashes become slashes, `./` falls away: tables are written on Windows, too."""
    return posixpath.normpath(cell.replace("\\", "/")) if cell else ""


def _positions(table: Table, problems: Problems) -> dict[str, NDArray[np.int64]]:
    """For each split that the table has by itself: int64 positions of its rows."""
    column = _split_column(table)
    if column is None:
        return {"train": np.arange(len(table.rows), dtype=np.int64)}
    words = {word: part for part, synonyms in SPLIT_NAMES.items() for word in synonyms}
    rows: dict[str, list[int]] = {"train": []}
    for row, (line, cell) in enumerate(zip(table.lines, table.column(column), strict=True)):
        part = words.get(cell.casefold())
        if part is None:
            problems.add(f"no split: {column} is neither train nor val nor test", f"line {line}: {cell or 'empty'}")
        else:
            rows.setdefault(part, []).append(row)
    if not rows["train"] and not problems.by_kind:
        raise DataError(
            f"{table.path} has no row of the split train", hint=f"its column {column} says train, val, test"
        )
    return {part: np.array(where, np.int64) for part, where in rows.items()}


def _check_training(targets: Targets, train: NDArray[np.int64], problems: Problems) -> None:
    """A class that only val or test has can't be learnt; where rows have other mistakes, those come first."""
    seen = set(targets.labels[train].tolist())
    missing = [name for label, name in enumerate(targets.names) if label not in seen]
    for name in [] if problems.by_kind else missing:
        problems.add("classes that the training images lack", name)


def _with_labels(dataset: Dataset, targets: Targets) -> Dataset:
    """A fingerprint that changes with the labels too, which file names don't tell here."""
    digest = hashlib.sha256(f"{dataset.fingerprint} {dataset.task} {targets.names!r}".encode())
    for split in dataset.splits.values():
        digest.update(np.ascontiguousarray(split.labels).data)
    return dataclasses.replace(dataset, fingerprint=digest.hexdigest())
