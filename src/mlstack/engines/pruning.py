"""What pruning came to: noted in results.json, and said."""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config import PruneConfig
from mlstack.runs import RunFolder
from mlstack.utils.console import say
from mlstack.utils.ranks import is_main_process


@dataclass(frozen=True)
class Size:
    """How large a network is.

    Attributes:
        parameters: Trainable and frozen.
        macs: Multiply-accumulate operations for one picture, in convolutions and linear layers.
    """

    parameters: int
    macs: int


def note_pruning(run: RunFolder, settings: PruneConfig, *, before: Size, after: Size) -> None:
    """Rank 0 writes down what was removed; how many weights are 0 is measured at the end, from the checkpoint."""
    if not is_main_process():
        return
    run.update_results(
        prune={
            "method": settings.method,
            "ratio": settings.ratio,
            "parameters_before": before.parameters,
            "parameters_after": after.parameters,
            "macs_before": before.macs,
            "macs_after": after.macs,
        }
    )
    if settings.method == "unstructured":
        say(f"prune       {settings.ratio:.0%} of the backbone's weights set to 0 and kept there; no layer is smaller")
        return
    say(
        f"prune       {before.parameters:,} → {after.parameters:,} parameters, "
        f"{before.macs / 1e6:,.1f} → {after.macs / 1e6:,.1f} million multiply-adds a picture"
    )
