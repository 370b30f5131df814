"""`resume=` and `init_from=`: which run goes on, what may be changed about it on the way, whose weights are a start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlstack.config import Config
from mlstack.config.keys import walk
from mlstack.config.quoting import unquote
from mlstack.errors import ConfigError
from mlstack.runs import RunFolder, announced_run, find_resumable, find_run

# What may differ from the stored settings: how long the run goes on, and what does not touch the result.
CHANGEABLE = frozenset(
    (
        "resume",
        "output_dir",
        "distill.teacher",
        "tracker",
        "tracker_args",
        "tracker_histograms",
        "data.path",
        "data.table",
        "data.mirrors",
        "data.download",
        "data.num_workers",
        "data.pin_memory",
        "data.persistent_workers",
        "data.prefetch_factor",
        "data.cache",
        "trainer.max_epochs",
        "trainer.max_steps",
        "trainer.early_stopping_patience",
        "trainer.checkpoint_every_n_steps",
        "trainer.progress_bar",
        "trainer.limit_test_batches",
        "trainer.job",
    )
)


def stored_config(overrides: Sequence[str]) -> Path | None:
    """The config.yaml of the run that `resume=` names; None where it isn't on the command line.

    Raises:
        ConfigError: A group is chosen anew: its settings are the run's own. Or `init_from` is named beside it.
        RunError: There is no such run.
    """
    words = dict(override.partition("=")[::2] for override in overrides)
    if words.get("resume", "null") in ("null", ""):
        return None
    for group in ("model", "data", "trainer", "recipe"):
        if group in words:
            raise ConfigError(
                f"{group}={words[group]} can't be chosen with resume={words['resume']}: a run goes on with its own",
                key=group,
                hint=f"leave {group} away, or start a new run from its weights: init_from={words['resume']}",
            )
    if words.get("init_from", "null") not in ("null", ""):  # the run's own settings may name where it began
        message = f"resume={words['resume']} and init_from={words['init_from']} contradict each other"
        hint = "resume goes on with a run; init_from starts a new one from its weights"
        raise ConfigError(message, key="init_from", hint=hint)
    run = announced_run() or find_resumable(
        unquote(words["resume"]), output_dir=unquote(words.get("output_dir", "outputs"))
    )
    return run.config_path


def check_changes(stored: Config, config: Config) -> list[str]:
    """What differs from a run's stored settings, as `key: before → now`.

    Raises:
        ConfigError: Something that a run can't change on the way.
    """
    changes = []
    for key in walk(Config):
        before, now = value_of(stored, key.name), value_of(config, key.name)
        if before == now:
            continue
        # Another place is fine; whether it is the same teacher, its checkpoint says. With or without one is not.
        if key.name not in CHANGEABLE or (key.name == "distill.teacher" and None in (before, now)):
            raise ConfigError(
                f"{key.name}={now} can't be changed while a run goes on; it was {before}",
                key=key.name,
                hint=f"leave it away, or start a new run from this one's weights: init_from={config.resume}",
            )
        if key.name.startswith("trainer.max_"):
            changes.append(f"{key.name}: {before} → {now}")
    return changes


def starting_weights(config: Config) -> str | None:
    """The checkpoint that `init_from=` names: a file, or the best one of a run.

    `latest` is the newest finished run of the same engine; where channels or weights are to be taken out, of those
    from which nothing was taken.

    Raises:
        RunError: There is no such run, or it has none.
    """
    if config.init_from is None or Path(config.init_from).is_file():
        return config.init_from
    pruning = config.prune.ratio > 0
    run = find_run(
        config.init_from,
        output_dir=config.output_dir,
        key="init_from",
        kind=f"finished run of trainer.engine={config.trainer.engine}{' that was not pruned' if pruning else ''}",
        # Of several ratios, tried one after the other, each begins with the network that was not pruned.
        fits=lambda run: run.engine == config.trainer.engine and not (pruning and "prune" in run.read_results()),
    )
    return str(run.checkpoint("best").absolute())


def is_over(run: RunFolder, changes: Sequence[str]) -> bool:
    """Whether a run has finished and nothing was asked for that would make it longer."""
    return not changes and run.results_path.exists() and run.read_results().get("status") == "finished"


def value_of(config: Config, name: str) -> Any:
    """The value of a key, named with dots."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
