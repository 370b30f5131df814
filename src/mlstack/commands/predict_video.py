"""Ask a model about a video or a camera: its frames go by in groups, and only the first ones are kept, for the grid."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mlstack.commands.answering import Answerer
from mlstack.config.commands import PredictConfig
from mlstack.datasets.base import Batch
from mlstack.datasets.decode import PictureRule
from mlstack.datasets.video import Video
from mlstack.reports.file_grids import FILE_GRIDS
from mlstack.reports.picture_grid import SHOWN
from mlstack.reports.prediction_file import PredictionFile
from mlstack.reports.prediction_table import Row, frame_name, frame_rows, prediction_rows, printed
from mlstack.utils.console import say

BATCHES = 4  # a group: a run loads its weights anew for each
LIVELY = 1.0  # seconds after which frames of a camera are answered, however few
PRINTED = 10  # predictions that the terminal shows of a file


@dataclass
class Group:
    """Frames that are answered together.

    Attributes:
        batch_size: Of the model's steps.
        numbers: Place of each in the video.
        seconds: Time of each in it.
        pictures: uint8 [height, width, channel] each, prepared.
    """

    batch_size: int
    numbers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)

    def __len__(self) -> int:
        """See `BatchSource`: steps, not frames."""
        return -(-len(self.pictures) // self.batch_size)

    def batch(self, epoch: int, step: int) -> Batch:
        """See `BatchSource.batch`; labels are -1: nobody knows them."""
        indices = np.arange(step * self.batch_size, min((step + 1) * self.batch_size, len(self.pictures)))
        return Batch(np.stack([self.pictures[index] for index in indices]), np.full(len(indices), -1), indices)


@dataclass
class Beginning:
    """What the terminal and the grid show at the end.

    Attributes:
        pictures: uint8 [height, width, channel] each, at most `SHOWN`.
        outputs: float32 [answer] each, of those.
        rows: Of those.
    """

    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    outputs: list[NDArray[np.float32]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(self, group: Group, outputs: NDArray[np.float32], rows: list[Row]) -> None:
        room = SHOWN - len(self.rows)
        self.pictures += group.pictures[:room]
        self.outputs += [*outputs[:room].copy()]  # a view would keep the whole group
        self.rows += rows[:room]


def predict_video(config: PredictConfig, model: Answerer, video: Video, *, output: Path, grid: Path) -> None:
    """Answer for every `every`-th frame; write a table with frame numbers and seconds, and a grid of the first ones.

    Ctrl-C ends it: what was answered so far is written, and of a camera that is the usual end.

    Raises:
        DataError: Not one frame can be decoded; nothing is written then.
        OutputError: The table or the grid can't be written.
        KeyboardInterrupt: Ctrl-C during a file, once the table is written, or before any answer.
    """
    beginning, interrupted = Beginning(), False
    with PredictionFile(output, model.task) as table, _progress(config, video) as bar:
        try:
            for group in _groups(config, model.rule, video):
                outputs = model.outputs(group)
                named = prediction_rows(model.task, [video.name] * len(outputs), outputs, model.names, k=config.top_k)
                rows = frame_rows(named, group.numbers, group.seconds)
                table.append(rows)
                beginning.add(group, outputs, rows)
                bar.update(len(rows))
                if video.is_camera:
                    say(printed(model.task, rows[-1:]))
        except KeyboardInterrupt:
            if not beginning.rows:
                raise
            interrupted = True
    _show(beginning, model, video, frames=table.rows, output=output, grid=grid)
    if interrupted and not video.is_camera:
        raise KeyboardInterrupt


def _groups(config: PredictConfig, rule: PictureRule, video: Video) -> Iterator[Group]:
    """Frames, prepared, as many as fit a few batches; of a camera, those of a second."""
    group, began = Group(config.batch_size), time.monotonic()
    for frame in video.frames(every=config.every, most=config.max_frames):
        group.numbers.append(frame.number)
        group.seconds.append(frame.seconds)
        group.pictures.append(rule.prepare(frame.pixels))
        late = video.is_camera and time.monotonic() - began >= LIVELY
        if late or len(group.pictures) == BATCHES * config.batch_size:
            yield group
            group, began = Group(config.batch_size), time.monotonic()
    if group.pictures:
        yield group


def _progress(config: PredictConfig, video: Video) -> tqdm[None]:
    """A bar on a terminal, with the frames that will be answered where that is known."""
    total = None if video.announced is None else -(-video.announced // config.every)
    if config.max_frames is not None:
        total = config.max_frames if total is None else min(total, config.max_frames)
    return tqdm(total=total, unit="frames", desc="predict", disable=True if video.is_camera else None)


def _show(beginning: Beginning, model: Answerer, video: Video, *, frames: int, output: Path, grid: Path) -> None:
    """Draw the first frames, and say what came out and where it is."""
    captions = [frame_name(row) for row in beginning.rows]
    draw = FILE_GRIDS[model.task]
    draw(np.stack(beginning.pictures), np.stack(beginning.outputs), captions, model.names, grid)
    if not video.is_camera:
        say(printed(model.task, beginning.rows[:PRINTED]))
    if video.cut_short:
        say(f"note: {video.name} ended at frame {video.seen:,} of {video.announced:,}: it is cut short or damaged")
    more = f" (the first {PRINTED} of {frames:,} shown)" if frames > PRINTED and not video.is_camera else ""
    say(f"\nwritten: {output}, {frames:,} frames{more}\nwritten: {grid}")
