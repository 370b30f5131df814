"""`tracker=tensorboard`: event files in the run folder, for `tensorboard --logdir outputs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from mlstack.engines.lightning.histograms import Histogram


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, and what a run begins and ends with. See `trackers.Tracker`."""

    errors: ClassVar[tuple[type[Exception], ...]] = (OSError, ValueError)

    def record_start(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self.experiment.add_text("settings", _as_text(settings))
        self.experiment.add_text("provenance", _as_text(facts))

    def record_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        for name, one in histograms.items():
            self.experiment.add_histogram_raw(
                f"weights/{name}",
                min=float(one.edges[0]),
                max=float(one.edges[-1]),
                num=int(one.counts.sum()),
                sum=one.total,
                sum_squares=one.squares,
                bucket_limits=one.edges[1:].tolist(),
                bucket_counts=one.counts.tolist(),
                global_step=step,
            )

    def record_end(self, scores: Mapping[str, float], images: Sequence[Path], checkpoint: Path | None) -> None:
        """Scores go to the HParams page, beside the settings; a checkpoint has no place in TensorBoard."""
        if scores:
            self.log_hyperparams(self._settings, dict(scores))
        for path in images:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self.experiment.add_image(f"figures/{path.stem}", pixels, dataformats="HWC")

    def close(self, status: str) -> None:
        self.finalize("success" if status in ("finished", "fast_dev_run") else status)


def _as_text(values: Mapping[str, Any]) -> str:
    """Markdown that shows each line as it is."""
    return "\n".join(f"    {name}: {value}" for name, value in values.items())
