"""Measure a trained model: tables, figures of what it gets right and wrong, and its worst mistakes as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from mlstack.config import Config, DataConfig
from mlstack.config.commands import EvalConfig
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines import Engine, Predictions, create_engine
from mlstack.engines.budget import FirstBatches, limited
from mlstack.metrics import Scores, confusion_matrix, per_class_metrics, per_label_metrics, per_target_metrics, score
from mlstack.reports.guarded import draw_each
from mlstack.reports.run_figures import split_figures
from mlstack.reports.tables import class_table, metrics_table, target_table
from mlstack.runs import RunFolder, find_run, write_text
from mlstack.utils.console import say


def evaluate(config: EvalConfig) -> None:
    """Measure a run on one split of its data; print the metrics, write evaluation_<split>.json and figures.

    Raises:
        RunError: No such run, or no such checkpoint.
        DataError: The data are no longer where the run found them.
    """
    run = find_run(config.run, output_dir=config.output_dir)
    settings = on_this_machine(run.read_config(), accelerator=config.accelerator)
    settings = replace(settings, data=_batching(config, settings.data))
    engine = create_engine(settings.trainer.engine)
    engine.check(settings)
    dataset = load_dataset(settings.data)
    _warn_of_other_data(dataset, run)
    predictions, scores = measure(engine, settings, dataset, run, split=config.split, checkpoint=config.checkpoint)
    task = settings.data.task
    counted = f"{len(predictions.labels):,} pictures, {config.checkpoint} checkpoint"
    say(f"run folder  {run.path}\n{config.split} split, {counted}\n")
    say(metrics_table(scores) + "\n")
    say(scores_of_each(task, predictions, dataset.classes) + "\n")
    table = run.path / f"evaluation_{config.split}.json"
    write_text(table, json.dumps({"checkpoint": config.checkpoint, "metrics": scores}, indent=2) + "\n")
    split, names = dataset.splits[config.split], {"name": config.split, "suffix": f"_{config.split}"}
    figures = draw_each(split_figures(run.figures, split, predictions.outputs, dataset.classes, task=task, **names))
    say("\n".join(f"written: {path}" for path in (table, *figures)))


def measure(
    engine: Engine, config: Config, dataset: Dataset, run: RunFolder, *, split: str, checkpoint: str = "best"
) -> tuple[Predictions, Scores]:
    """Predictions and metrics of a run's checkpoint on one split, within the settings' limit for it."""
    loader = BatchLoader(dataset.splits[split], batch_size=config.data.batch_size, image_size=dataset.image_size)
    settings = config.trainer
    limits = {"train": 1.0, "val": settings.limit_val_batches, "test": settings.limit_test_batches}
    source = FirstBatches(loader, limited(len(loader), limits[split]))
    predictions = engine.predict(config, source, run=run, checkpoint=checkpoint)
    return predictions, score(config.data.task, predictions.outputs, predictions.labels)


def scores_of_each(task: str, predictions: Predictions, names: Sequence[str]) -> str:
    """A table with the scores of each class, label or target."""
    labels: NDArray[Any] = predictions.labels
    if task == "regression":
        return target_table(names, per_target_metrics(predictions.outputs, labels))
    if task == "multilabel":
        return class_table(names, per_label_metrics(predictions.outputs, labels), kind="label")
    return class_table(names, per_class_metrics(confusion_matrix(labels, predictions.predicted, len(names))))


def _batching(config: EvalConfig, data: DataConfig) -> DataConfig:
    workers = data.num_workers if config.num_workers is None else config.num_workers
    return replace(data, batch_size=config.batch_size or data.batch_size, num_workers=workers)


def on_this_machine(stored: Config, *, accelerator: str) -> Config:
    """A run's settings for measuring: every picture of a split, on one device of this machine."""
    trainer = replace(
        stored.trainer,
        accelerator=accelerator,
        devices=1,
        strategy="auto",
        limit_val_batches=1.0,
        limit_test_batches=1.0,
        fast_dev_run=False,
    )
    if trainer.precision == "16" and accelerator in ("auto", "cpu"):
        trainer = replace(trainer, precision="32")  # trained on a GPU, measured wherever this is
    return replace(stored, trainer=trainer)


def _warn_of_other_data(dataset: Dataset, run: RunFolder) -> None:
    trained_on = run.read_results().get("data", {}).get("fingerprint")
    if trained_on and trained_on != dataset.fingerprint:
        say("note: these are not the data that the run was trained on (another fingerprint)")
