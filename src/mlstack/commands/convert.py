"""A trained model for the other engine: the same network with the same weights, in a run folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mlstack.config import Config, PruneConfig
from mlstack.config.commands import ConvertConfig
from mlstack.config.trainer import ENGINES
from mlstack.engines.checkpoint_files import LAST, replace_by_link
from mlstack.engines.factory import weight_files
from mlstack.engines.restore import DAMAGED, damaged_weights
from mlstack.errors import ConfigError, OutputError
from mlstack.models.catalog import check_same_layers
from mlstack.models.conversion import to_paddle, to_torch
from mlstack.provenance import provenance
from mlstack.runs import RunFolder, create_run, discard_run, find_run, finish_run, write_text
from mlstack.utils.console import say

Weights = dict[str, NDArray[Any]]

# How an engine's framework names and stores weights that come from the other one.
CONVERSIONS: dict[str, Callable[[Weights], Weights]] = {"lightning": to_torch, "paddle": to_paddle}
# What stays true of the model, whichever framework holds it; speed and memory don't.
KEPT = ("data", "prune", "parameters", "seed", "epochs", "steps", "best_epoch", "best_score")


def convert(config: ConvertConfig) -> None:
    """Write a finished run folder for the other engine, for `eval`, `predict` and `init_from`.

    Raises:
        ConfigError: It is that engine's already, or the other side has no such network.
        RunError: No such run, or no such checkpoint.
        OutputError: The folder can't be written.
    """
    run = find_run(config.run, output_dir=config.output_dir)
    before = run.read_config()
    engine = config.engine or _other_engine(before.trainer.engine)
    after = _settings(before, engine, target=config.target, output_dir=config.output_dir)
    checkpoint = run.checkpoint(config.checkpoint)
    weights = CONVERSIONS[engine](_read(checkpoint, before.trainer.engine))
    results = _results(run, before.trainer.engine, config.checkpoint)
    converted = create_run(after)
    try:
        _write(converted, engine, weights)
        converted.write_config(after)
        converted.update_results(**results)
        if run.metrics_path.is_file():
            write_text(converted.metrics_path, run.metrics_path.read_text(encoding="utf-8"))
    except BaseException:
        discard_run(converted)
        raise
    finish_run(converted, output_dir=config.output_dir)
    numbers = sum(array.size for array in weights.values())
    elsewhere = "" if config.output_dir == "outputs" else f" output_dir={config.output_dir}"
    say(f"converted   {checkpoint}: {len(weights)} tensors, {numbers:,} numbers")
    say(f"run folder  {converted.path}")
    say(f"next        python scripts/eval.py run=latest{elsewhere} split=test")


def _other_engine(engine: str) -> str:
    others = [name for name in ENGINES if name != engine]
    if not others:
        raise ConfigError(f"{engine} is the only engine here: there is none to convert to", key="engine")
    return others[0]


def _settings(before: Config, engine: str, *, target: str | None, output_dir: str) -> Config:
    """The run's settings with the other engine.

    Raises:
        ConfigError: The network can't be taken over.
    """
    name = before.trainer.engine
    if engine == name:
        raise ConfigError(
            f"engine={engine}: the run is of that engine already",
            key="engine",
            allowed=[other for other in ENGINES if other != name],
        )
    if (before.model.target is None) != (target is None):
        given = f"the run's own network is model.target={before.model.target}" if target is None else "it has no use"
        hint = "name the same network, written for that framework: target=module:callable" if target is None else ""
        raise ConfigError(
            f"target={'null' if target is None else target}: {given}",
            key="target",
            hint=hint or f"the run's network is model.name={before.model.name}: leave target away",
        )
    if target is None:
        check_same_layers(before.model.name, engine, has_arguments=bool(before.model.args))
    return replace(
        before,
        model=replace(before.model, target=target, pretrained=False),
        trainer=replace(before.trainer, engine=engine, lightning={}, paddle={}),
        output_dir=output_dir,
        resume=None,
        init_from=None,
        prune=PruneConfig(),
    )


def _read(checkpoint: Path, engine: str) -> Weights:
    files = weight_files(engine)
    try:
        return files.read_weights(checkpoint)
    except DAMAGED as error:
        raise damaged_weights(checkpoint, error) from error


def _results(run: RunFolder, engine: str, checkpoint: str) -> dict[str, Any]:
    """What is known of the run, and where it comes from. The metrics were measured with the best checkpoint."""
    known = run.read_results() if run.results_path.exists() else {}
    name = f"{run.path.absolute().parent.name}/{run.path.name}"  # relative: folders are moved and copied
    names = (*KEPT, "metrics") if checkpoint == "best" else KEPT
    return {
        "started_at": datetime.now(UTC).isoformat(),
        "converted_from": {"run": name, "engine": engine, "checkpoint": checkpoint},
        **{name: known[name] for name in names if name in known},
        **provenance(),
    }


def _write(run: RunFolder, engine: str, weights: Weights) -> None:
    """One file under both names, so that `checkpoint=last` finds it too."""
    best = run.checkpoints / "best.ckpt"
    try:
        best.parent.mkdir()
        weight_files(engine).write_weights(best, weights)
        replace_by_link(best, best.with_name(LAST))
    except OSError as error:
        raise OutputError(f"{best} can't be written: {error.strerror or error}", hint="free some space") from error
