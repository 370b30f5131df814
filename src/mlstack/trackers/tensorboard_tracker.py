"""`tracker=tensorboard`: event files in the run folder, for `tensorboard --logdir outputs`.

Written with TensorBoard's own writer, the one below torch.utils.tensorboard: it needs no training framework, and it
raises where the disk is full. (tensorboardX imports torch where that is installed, and waits for ever on a full disk.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from mlstack.errors import OutputError
from mlstack.trackers import tensorboard_events as events
from mlstack.trackers.base import Tracker
from mlstack.trackers.histograms import Histogram


class TensorBoard(Tracker):
    """One event file in a folder of the run.

    Args:
        run: The run folder.
        name: The folder in it.
        purge_step: TensorBoard forgets events of earlier files from this step on.
        max_queue: Events that may wait to be written.
        flush_secs: Seconds after which they are, at the latest.
        filename_suffix: Added to the event file's name.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = (OSError, ValueError, OutputError)

    def __init__(
        self,
        run: Path,
        *,
        name: str = "tensorboard",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        self._settings: dict[str, Any] = {}
        self._writer = EventFileWriter(str(run / name), max_queue, flush_secs, filename_suffix)
        # The thread that writes keeps its error for the next event, which raises it: no traceback of its own besides.
        self._writer._async_writer._worker._invoke_excepthook = lambda thread: None
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def log_metrics(self, row: Mapping[str, float], step: int) -> None:
        for name, value in row.items():
            self._add(events.scalar(name, value), step)

    def record_start(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self._add(events.text("settings", _as_text(settings)))
        self._add(events.text("provenance", _as_text(facts)))

    def record_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        for name, one in histograms.items():
            self._add(events.histogram(f"weights/{name}", one), step)

    def record_end(self, scores: Mapping[str, float], images: Sequence[Path], checkpoint: Path | None) -> None:
        """Scores go to the HParams page, beside the settings; a checkpoint has no place in TensorBoard."""
        if scores:
            self.log_metrics(scores, 0)
            for summary in events.hparams(self._settings, list(scores)):
                self._add(summary)
        for path in images:
            self._add(events.image(f"figures/{path.stem}", path))

    def close(self, status: str) -> None:
        self._writer.close()

    def _add(self, summary: Summary, step: int = 0) -> None:
        try:
            self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        except OSError as error:
            raise OutputError(
                f"{self._writer.get_logdir()} can't be written: {error.strerror or error}",
                hint="free some space, or train without: tracker=none",
            ) from error


def _as_text(values: Mapping[str, Any]) -> str:
    """Markdown that shows each line as it is."""
    return "\n".join(f"    {name}: {value}" for name, value in values.items())
