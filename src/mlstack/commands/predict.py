"""Classify new pictures with a trained model: a table and a picture grid."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from mlstack.metrics import top_k
from mlstack.reports.pictures import SHOWN, draw_file_predictions
from mlstack.runs import find_run, write_text
from mlstack.utils.console import say

NAMED = 5  # unreadable pictures that a message lists
PRINTED = 10  # predictions that the terminal shows


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
        """See `BatchSource.batch`; labels are -1: nobody knows them."""
        indices = np.arange(step * self.batch_size, min((step + 1) * self.batch_size, len(self.paths)))
        images = self.read(self.paths[indices[0] : indices[-1] + 1])
        return Batch(images, np.full(len(indices), -1), indices)

    def read(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        """uint8 [n, height, width, channel]."""
        return read_images(paths, size=self.size, side=self.side, channels=self.channels, resize=self.resize)


def predict(config: PredictConfig) -> None:
    """Classify pictures and write a table (CSV or JSON) and a grid of the first of them.

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
    rows = prediction_rows(paths, predictions.probabilities, settings.data.classes or [], k=config.top_k)
    write_text(output, as_json(rows) if output.suffix == ".json" else as_csv(rows))
    draw_file_predictions(
        source.read(paths[:SHOWN]),
        predictions.probabilities[:SHOWN],
        [path.name for path in paths[:SHOWN]],
        settings.data.classes or [],
        grid,
    )
    for row in rows[:PRINTED]:
        say(f"{row['confidence']:6.1%}  {row['class']}  {row['file']}")
    more = f" (the first {PRINTED} of {len(rows):,} shown)" if len(rows) > PRINTED else ""
    say(f"\nwritten: {output}{more}\nwritten: {grid}")


def prediction_rows(
    paths: Sequence[Path], probabilities: NDArray[np.floating], classes: Sequence[str], *, k: int
) -> list[dict[str, Any]]:
    """One row a picture: file, likeliest class, its index and confidence, and the `k` likeliest with probabilities."""
    likeliest = top_k(probabilities, min(k, len(classes)))  # [n, k]
    return [
        {
            "file": str(path),
            "class": classes[best[0]],
            "index": int(best[0]),
            "confidence": float(row[best[0]]),
            "probabilities": {classes[index]: float(row[index]) for index in best},
        }
        for path, row, best in zip(paths, probabilities, likeliest, strict=True)
    ]


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a JSON list."""
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV: file, class, confidence, then class_2, confidence_2, …"""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = range(2, len(rows[0]["probabilities"]) + 1)
    writer.writerow(
        ["file", "class", "confidence", *(f"{name}_{rank}" for rank in ranks for name in ("class", "confidence"))]
    )
    for row in rows:
        cells = [cell for name, value in row["probabilities"].items() for cell in (name, f"{value:.6f}")]
        writer.writerow([row["file"], *cells])
    return text.getvalue()


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
