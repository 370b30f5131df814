"""Ask a trained model about new pictures: a table of classes, labels or numbers, and a picture grid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.commands.evaluate import on_this_machine
from mlstack.config import DataConfig
from mlstack.config.commands import PredictConfig
from mlstack.datasets.base import Batch
from mlstack.datasets.decode import read_images, unreadable
from mlstack.datasets.files import find_images
from mlstack.engines import create_engine
from mlstack.errors import DataError, OutputError
from mlstack.reports.label_pictures import draw_file_labels
from mlstack.reports.picture_grid import SHOWN
from mlstack.reports.pictures import draw_file_predictions
from mlstack.reports.prediction_table import as_csv, as_json, prediction_rows, printed
from mlstack.reports.value_pictures import draw_file_values
from mlstack.runs import find_run, write_text
from mlstack.utils.console import say

NAMED = 5  # unreadable pictures that a message lists
PRINTED = 10  # predictions that the terminal shows
GRIDS = {
    "classification": draw_file_predictions,
    "multilabel": draw_file_labels,
    "regression": draw_file_values,
}


class PictureFiles:
    """Files in batches, prepared exactly as evaluation prepares pictures.

    Args:
        paths: The files.
        data: The run's settings: image size, channels, resize rule.
        batch_size: Pictures a step.
    """

    def __init__(self, paths: Sequence[Path], data: DataConfig, *, batch_size: int) -> None:
        assert data.image_size and data.decoded_size and data.channels, "a run's settings are complete"
        self.paths = paths
        self.size, self.side, self.channels = data.image_size, data.decoded_size, data.channels
        self.resize = data.resize
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch_size)

    def batch(self, epoch: int, step: int) -> Batch:
        """See `BatchSource.batch`; labels are -1, of whatever task: nobody knows them."""
        indices = np.arange(step * self.batch_size, min((step + 1) * self.batch_size, len(self.paths)))
        images = self.read(self.paths[indices[0] : indices[-1] + 1])
        return Batch(images, np.full(len(indices), -1), indices)

    def read(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        """uint8 [n, height, width, channel]."""
        return read_images(paths, size=self.size, side=self.side, channels=self.channels, resize=self.resize)


def predict(config: PredictConfig) -> None:
    """Ask about pictures and write a table (CSV or JSON) and a grid of the first of them.

    Raises:
        RunError: No such run, or no such checkpoint.
        DataError: No picture there, or some can't be read; nothing is written then.
        OutputError: The table or the grid can't be written.
    """
    run = find_run(config.run, output_dir=config.output_dir)
    output = Path(config.output)
    grid = Path(config.grid) if config.grid else output.with_suffix(".png")
    for path in (output, grid):
        check_writable(path)
    paths = find_images(config.input)
    settings = on_this_machine(run.read_config(), accelerator=config.accelerator)
    # Files are decoded in threads; processes would pay off for very many only.
    settings = replace(settings, data=replace(settings.data, num_workers=0))
    engine = create_engine(settings.trainer.engine)
    engine.check(settings)
    source = PictureFiles(paths, settings.data, batch_size=config.batch_size)
    try:
        predictions = engine.predict(settings, source, run=run, checkpoint=config.checkpoint)
    except DataError as error:
        raise _all_unreadable(paths) or error from error
    task, names = settings.data.task, settings.data.classes or []
    rows = prediction_rows(task, paths, predictions.outputs, names, k=config.top_k)
    write_text(output, as_json(rows) if output.suffix == ".json" else as_csv(task, rows))
    shown = paths[:SHOWN]
    GRIDS[task](source.read(shown), predictions.outputs[:SHOWN], [path.name for path in shown], names, grid)
    say(printed(task, rows[:PRINTED]))
    more = f" (the first {PRINTED} of {len(rows):,} shown)" if len(rows) > PRINTED else ""
    say(f"\nwritten: {output}{more}\nwritten: {grid}")


def check_writable(path: Path) -> None:
    """Refuse an output path before the work is done.

    Raises:
        OutputError: It is a folder, or its folder can't be written.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir():
        raise OutputError(f"{path} is a folder", hint=f"name a file: {path / 'predictions.csv'}")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"{path} can't be written: {folder} is not a writable folder", hint="choose another path")


def _all_unreadable(paths: Sequence[Path]) -> DataError | None:
    """One message for all the pictures that can't be read; None if it was something else."""
    reasons = unreadable(paths)
    if not reasons:
        return None
    listed = "\n".join(f"  {path}: {reason}" for path, reason in list(reasons.items())[:NAMED])
    more = f"\n  … and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return DataError(
        f"{len(reasons)} of {len(paths)} pictures can't be read; nothing was written", hint=f"{listed}{more}"
    )
