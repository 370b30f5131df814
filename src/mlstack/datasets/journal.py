"""Learn from what a server has kept: data=journal data.path=journal/, the pictures whose true labels came back.

Whether a picture trains, validates or tests follows from its request id alone: a journal that grows never moves one
from a split to another, and all pictures of a request stay together.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import DataConfig
from mlstack.datasets.base import SPLITS, Dataset
from mlstack.datasets.build import dataset_from_arrays
from mlstack.datasets.places import check_folder, data_folder
from mlstack.errors import ConfigError, DataError
from mlstack.utils.journal_files import Kind, Labelled, Record, check_label, read_labels, read_records, segments, share

LOG = logging.getLogger("mlstack.datasets")
FOLDER_HINT = "data.path is what the server was given as serve.journal.folder"
FEEDBACK_HINT = "send true labels to the server: POST /feedback with a request id and a label"


@dataclass(frozen=True)
class Example:
    """A picture of a journal with its true label."""

    record: Record
    position: int  # in its request
    label: int | tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.record.request_id}/{self.position}"


def load(config: DataConfig) -> Dataset:
    """The labelled pictures of the journal `data.path`; of one model only, where `data.args.model` names it.

    Raises:
        ConfigError: `data.path` is missing, or `data.task` or `data.args` doesn't fit.
        DataError: There is no journal, no labelled picture, one class only, or pictures of several kinds.
    """
    if config.path is None:
        raise ConfigError("data=journal needs data.path, the folder of a journal", key="data.path", hint=FOLDER_HINT)
    folder = data_folder(config)
    check_folder(folder, hint=FOLDER_HINT)
    if not segments(folder):
        raise DataError(f"{folder} holds no journal: it has no segment-000001 or later", hint=FOLDER_HINT)
    records = list(_of_model(read_records(folder), _model(config)))
    if not records:
        raise DataError(f"{folder} has no record{_whose(config)}", hint=FEEDBACK_HINT)
    labels = _newest_labels(records, read_labels(folder))
    if not labels:
        raise DataError(
            f"none of the {len(records)} records in {folder}{_whose(config)} has a label", hint=FEEDBACK_HINT
        )
    kind = _one_kind([record for record in records if record.request_id in labels], config)
    _check_task(config, kind)
    examples = list(_examples([record for record in records if record.kind == kind], labels))
    if not examples:
        raise DataError(f"no label in {folder} fits its picture", hint=f"classes: {', '.join(kind.classes)}")
    _check_classes(config, kind, examples)
    return _dataset(config, kind, examples)


def _model(config: DataConfig) -> str | None:
    strange = sorted(set(config.args) - {"model"})
    if strange:
        raise ConfigError(f"data.args.{strange[0]} means nothing to a journal", key="data.args", allowed=("model",))
    return None if config.args.get("model") is None else str(config.args["model"])


def _whose(config: DataConfig) -> str:
    model = _model(config)
    return f" of data.args.model={model}" if model else ""


def _of_model(records: Iterable[Record], model: str | None) -> Iterator[Record]:
    """The records of a model; of a request id that was sent again, the newest."""
    newest: dict[str, Record] = {}
    for record in records:
        if record.request_id not in newest or newest[record.request_id].order < record.order:
            newest[record.request_id] = record
    chosen = (record for record in newest.values() if model is None or record.model == model)
    yield from sorted(chosen, key=lambda record: record.order)


def _newest_labels(records: list[Record], given: Iterable[Labelled]) -> dict[str, list[Any]]:
    """Request id → a label or None for each picture. What was said before a record belongs to an older one."""
    wanted = {record.request_id: record for record in records}
    labels: dict[str, list[Any]] = {}
    for one in given:
        record = wanted.get(one.request_id)
        if record is not None and record.order < one.order:
            row = labels.setdefault(one.request_id, [None] * record.count)
            for position, label in enumerate(one.labels[: record.count]):
                row[position] = row[position] if label is None else label
    return labels


def _one_kind(records: list[Record], config: DataConfig) -> Kind:
    """What all the pictures are. Of one model that was trained on new classes, the newest kind."""
    by_kind: dict[Kind, list[Record]] = {}
    for record in records:
        by_kind.setdefault(record.kind, []).append(record)
    newest = max(records, key=lambda record: record.order).kind
    if len(by_kind) > 1 and _model(config) is None:
        lines = [
            f"{kind.name}: {len(kind.classes)} classes, model {', '.join(sorted({one.model for one in group}))}"
            for kind, group in by_kind.items()
        ]
        message = f"the journal has labelled pictures of {len(by_kind)} shapes or lists of classes"
        raise DataError(message, hint="\n".join([*lines, "choose by the model that answered: data.args.model=NAME"]))
    if len(by_kind) > 1:
        LOG.warning("the journal%s: several shapes or lists of classes; the newest: %s", _whose(config), newest.name)
    return newest


def _check_task(config: DataConfig, kind: Kind) -> None:
    if config.task != kind.task:
        message = f"data.task={config.task}, but the journal's model was one of {kind.task}"
        raise ConfigError(message, key="data.task", hint=f"type data.task={kind.task}")
    if kind.height != kind.width:
        raise DataError(f"the journal's pictures are {kind.width} × {kind.height}; only square ones can be learnt from")


def _examples(records: list[Record], labels: dict[str, list[Any]]) -> Iterator[Example]:
    wrong = []
    for record in records:
        for position, label in enumerate(labels.get(record.request_id, ())):
            if label is not None:
                try:
                    checked = check_label(label, task=record.kind.task, classes=record.kind.classes)
                except ValueError as error:
                    wrong.append(f"{record.request_id}/{position}: {error}")
                else:
                    yield Example(record, position, checked)
    if wrong:
        LOG.warning("%d labels of the journal are left out: %s", len(wrong), wrong[0])


def _check_classes(config: DataConfig, kind: Kind, examples: list[Example]) -> None:
    if kind.task == "classification" and len({example.label for example in examples}) < 2:
        only = kind.classes[examples[0].label] if isinstance(examples[0].label, int) else ""
        raise DataError(
            f"all {len(examples)} labelled pictures in {config.path} are of one class ({only}), at least 2 are needed",
            hint=FEEDBACK_HINT,
        )


def _dataset(config: DataConfig, kind: Kind, examples: list[Example]) -> Dataset:
    parts: dict[str, list[Example]] = {part: [] for part in SPLITS}
    pictures = {example.name: picture for example, picture in _pictures(examples)}
    for example in examples:
        if example.name in pictures:
            parts[split_of(example.record.request_id, config)].append(example)
    empty = [part for part in SPLITS if not parts[part]]
    if empty:
        raise DataError(
            f"the {len(pictures)} labelled pictures in {config.path} are too few: none falls to {' and '.join(empty)}",
            hint="wait for more, or change data.val_fraction, data.test_fraction or data.split_seed",
        )
    dtype = np.int64 if kind.task == "classification" else np.float32
    arrays = {
        part: (np.stack([pictures[one.name] for one in chosen]), np.array([one.label for one in chosen], dtype))
        for part, chosen in parts.items()
    }
    dataset = dataset_from_arrays(config, arrays, name=config.name, classes=kind.classes, task=kind.task)
    splits = {
        part: dataclasses.replace(split, names=[one.name for one in parts[part]])
        for part, split in dataset.splits.items()
    }
    return dataclasses.replace(dataset, splits=splits)


def _pictures(examples: list[Example]) -> Iterator[tuple[Example, NDArray[np.uint8]]]:
    """The pictures, each uint8 [height, width, channel]; damaged ones are left out, with a warning."""
    damaged, last, rows = [], "", None
    for example in examples:
        if example.record.request_id != last:
            last, read = example.record.request_id, example.record.read()
            rows = read[0] if read else None
        if rows is None:
            damaged.append(example.name)
        else:
            yield example, rows[example.position]
    if damaged:
        LOG.warning("%d pictures of the journal are damaged or deleted, left out: %s", len(damaged), damaged[0])


def split_of(request_id: str, config: DataConfig) -> str:
    """`train`, `val` or `test`: a pure function of the request id, the fractions and the split seed."""
    place = share(request_id, f"split {config.split_seed}")
    if place < config.test_fraction:
        return "test"
    return "val" if place < config.test_fraction + (1 - config.test_fraction) * config.val_fraction else "train"
