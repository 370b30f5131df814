"""Pruning as a part of training: what a run's settings take over from the run it begins with, and what it came to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlstack.config import Config
from mlstack.engines.factory import weight_files
from mlstack.runs import RunFolder


def with_pruned(config: Config) -> Config:
    """Note in the settings of a new run whether its layers are narrower than the network that they name.

    They are where channels are to be removed, and where they have been removed from the run that it begins with.

    Args:
        config: All settings, `init_from` a checkpoint.
    """
    if config.init_from is None:
        return config
    narrows = config.prune.ratio > 0 and config.prune.method == "structured"
    return replace(config, model=replace(config.model, pruned=config.model.pruned or narrows or _is_pruned(config)))


def _is_pruned(config: Config) -> bool:
    """Whether the run that a checkpoint lies in says so; nobody knows of a file that lies elsewhere."""
    assert config.init_from is not None
    run = RunFolder(Path(config.init_from).absolute().parent.parent)
    return run.config_path.is_file() and run.read_config().model.pruned


def pruning_facts(config: Config, run: RunFolder) -> dict[str, Any]:
    """What pruning came to, for results.json: as noted when it was done, with the zeros of the best checkpoint."""
    facts = run.read_results().get("prune")
    if not facts or config.trainer.fast_dev_run:
        return {}
    weights = weight_files(config.trainer.engine).read_weights(run.checkpoint("best"))
    matrices = [array for array in weights.values() if array.ndim > 1]  # of convolutions and linear layers
    zeros = sum(int(array.size) - int(np.count_nonzero(array)) for array in matrices)
    return {"prune": {**facts, "sparsity": zeros / sum(array.size for array in matrices)}}


def pruning_line(facts: dict[str, Any]) -> str:
    """The same in a line with its end, empty without pruning."""
    if not (known := facts.get("prune")):
        return ""
    if known["method"] == "unstructured":
        return (
            f"prune       {known['sparsity']:.1%} of the weights are 0; the model is no smaller and no faster for it, "
            "but compresses better\n"
        )
    before, after, macs = known["parameters_before"], known["parameters_after"], known["macs_after"]
    return (
        f"prune       {before:,} → {after:,} parameters ({after / before:.2f} ×), "
        f"{macs / known['macs_before']:.2f} × the multiply-adds a picture\n"
    )
