"""Ask a trained model about new pictures or a video: a table of classes, labels or numbers, and a picture grid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlstack.commands.answering import Answerer, answerer
from mlstack.commands.predict_url import ServiceAnswerer
from mlstack.commands.predict_video import predict_video
from mlstack.config.commands import PredictConfig
from mlstack.datasets.base import Batch
from mlstack.datasets.decode import PictureRule, unreadable
from mlstack.datasets.files import find_images
from mlstack.datasets.video import Video, video_among
from mlstack.errors import DataError, OutputError
from mlstack.reports.file_grids import FILE_GRIDS
from mlstack.reports.picture_grid import SHOWN
from mlstack.reports.prediction_table import as_csv, as_json, prediction_rows, printed
from mlstack.runs import write_text
from mlstack.utils.console import say

NAMED = 5  # unreadable pictures that a message lists
PRINTED = 10  # predictions that the terminal shows


class PictureFiles:
    """Files in batches, prepared exactly as evaluation prepares pictures.

    Args:
        paths: The files.
        rule: How each becomes the network's input.
        batch_size: Pictures a step.
    """

    def __init__(self, paths: Sequence[Path], rule: PictureRule, *, batch_size: int) -> None:
        self.paths = paths
        self.rule = rule
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch_size)

    def batch(self, epoch: int, step: int) -> Batch:
        """See `BatchSource.batch`; labels are -1, of whatever task: nobody knows them."""
        indices = np.arange(step * self.batch_size, min((step + 1) * self.batch_size, len(self.paths)))
        images = self.rule.read(self.paths[indices[0] : indices[-1] + 1])
        return Batch(images, np.full(len(indices), -1), indices)


def predict(config: PredictConfig) -> None:
    """Ask about pictures, or about the frames of a video, and write a table (CSV or JSON) and a grid of the first.

    Raises:
        RunError: No such run, or no such checkpoint.
        BundleError: No such bundle, or a damaged one.
        ServiceError: A service that can't be asked.
        DataError: No picture there, or some can't be read; nothing is written then.
        OutputError: The table or the grid can't be written.
    """
    output = Path(config.output)
    grid = Path(config.grid) if config.grid else output.with_suffix(".png")
    for path in (output, grid):
        check_writable(path)
    if (name := video_among(config.input)) is not None:
        with Video(name) as video:
            predict_video(config, _who_answers(config), video, output=output, grid=grid)
        return
    paths = find_images(config.input)
    model = _who_answers(config)
    try:
        outputs = model.outputs(PictureFiles(paths, model.rule, batch_size=config.batch_size))
    except DataError as error:
        raise _all_unreadable(paths) or error from error
    rows = prediction_rows(model.task, paths, outputs, model.names, k=config.top_k)
    write_text(output, as_json(rows) if output.suffix.lower() == ".json" else as_csv(model.task, rows))
    shown = paths[:SHOWN]
    names = [path.name for path in shown]
    FILE_GRIDS[model.task](model.rule.read(shown), outputs[:SHOWN], names, model.names, grid)
    say(printed(model.task, rows[:PRINTED]))
    more = f" (the first {PRINTED} of {len(rows):,} shown)" if len(rows) > PRINTED else ""
    say(f"\nwritten: {output}{more}\nwritten: {grid}")


def _who_answers(config: PredictConfig) -> Answerer:
    return answerer(config) if config.url is None else ServiceAnswerer(config.url)


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
