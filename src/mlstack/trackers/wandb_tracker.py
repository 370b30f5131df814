"""`tracker=wandb`: Weights & Biases; recorded on this disk where there is no account, for `wandb sync` later."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import wandb

from mlstack.errors import ConfigError
from mlstack.trackers.base import Tracker
from mlstack.trackers.histograms import Histogram

# Weights & Biases shows a run that ended with 255 as killed, with another number as failed.
EXIT_CODES = {"finished": 0, "fast_dev_run": 0, "interrupted": 255}
STEPS = "trainer/global_step"  # optimizer steps; W&B's own count goes up with every row


class WeightsAndBiases(Tracker):
    """One run there, or on this disk.

    Args:
        run: What wandb.init returned.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = (wandb.Error, OSError, ValueError)

    def __init__(self, run: wandb.Run) -> None:
        self._run = run
        self.run_id = str(run.id)
        run.define_metric(STEPS)
        run.define_metric("*", step_metric=STEPS, step_sync=True)

    def log_metrics(self, row: Mapping[str, Any], step: int) -> None:
        self._run.log({**row, STEPS: step})

    def record_start(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._run.config.update({**settings, **facts}, allow_val_change=True)  # type: ignore[no-untyped-call]

    def record_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        shown = {name: wandb.Histogram(np_histogram=(one.counts, one.edges)) for name, one in histograms.items()}
        self.log_metrics({f"weights/{name}": one for name, one in shown.items()}, step)

    def record_end(self, scores: Mapping[str, float], images: Sequence[Path], checkpoint: Path | None) -> None:
        self._run.summary.update(dict(scores))
        if images:
            self._run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in images})
        if checkpoint is not None:
            artifact = wandb.Artifact(f"model-{self.run_id}", type="model", metadata=dict(scores))
            # Without a copy in the home folder: best.ckpt is never written to, only replaced.
            artifact.add_file(str(checkpoint), policy="immutable")
            self._run.log_artifact(artifact)

    def close(self, status: str) -> None:
        """Else the next run of this process would go on in this one's record."""
        self._run.finish(exit_code=EXIT_CODES.get(status, 1))


def start_wandb(arguments: Mapping[str, Any], *, folder: Path, run_id: str, name: str) -> WeightsAndBiases:
    """Begin a run, or go on with the one of that id.

    Args:
        arguments: `tracker_args`: of wandb.init; `offline=true` is short for `mode=offline`.
        folder: Where its files go, below `wandb/`.
        run_id: Fixed by the run folder, so that a run that was resumed appears once.
        name: What the run is called.

    Raises:
        ConfigError: It can't be started so.
        TypeError: There is no such argument.
    """
    given = {"project": "mlstack", "name": name, "id": run_id, "dir": str(folder), "resume": "allow", **arguments}
    if given.pop("offline", not has_account()):
        given["mode"] = "offline"
    try:
        return WeightsAndBiases(wandb.init(**given))
    except wandb.Error as error:
        raise ConfigError(
            f"tracker=wandb: {error}", key="tracker_args", hint="record it here: tracker_args.offline=true"
        ) from error


def has_account() -> bool:
    """Without a key wandb would stop and ask for one."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_MODE") == "online":
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
