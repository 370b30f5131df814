"""Our `trainer` settings as arguments of pytorch_lightning.Trainer."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, EarlyStopping

from mlstack.config import Config, TrainerConfig
from mlstack.engines.lightning.checkpoints import PlainFiles
from mlstack.engines.lightning.devices import devices_and_nodes, launched_from_outside
from mlstack.errors import ConfigError

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "64": "64-true"}
# What `trainer.lightning.*` may change. `benchmark` joins them: batches have two or three shapes, so that looking for
# the fastest kernel of a GPU pays off.
DIVIDED = ("fsdp", "deepspeed")  # strategies that write checkpoints in ways of their own
OUR_CHOICES = {"enable_model_summary": False, "num_sanity_val_steps": 0}


def build_trainer(config: Config, *, callbacks: Sequence[Callback]) -> pl.Trainer:
    """A Trainer that leaves limits, clipping, accumulation, checkpoints and the progress bar to our own parts.

    Raises:
        ConfigError: Lightning refuses the combination of settings.
    """
    settings = config.trainer
    _quieten()
    devices, nodes = devices_and_nodes(settings)
    try:
        trainer = pl.Trainer(
            accelerator=settings.accelerator,
            devices=devices,
            strategy="ddp" if settings.strategy == "auto" and launched_from_outside() else settings.strategy,
            plugins=None if settings.strategy.startswith(DIVIDED) else [PlainFiles()],
            precision=PRECISIONS[settings.precision],  # type: ignore[arg-type]
            max_epochs=settings.max_epochs,
            check_val_every_n_epoch=settings.check_val_every_n_epoch,
            log_every_n_steps=1,
            limit_val_batches=settings.limit_val_batches if settings.limit_val_batches == 0 else None,
            deterministic=settings.deterministic,
            sync_batchnorm=settings.sync_batchnorm,
            default_root_dir=config.output_dir,  # where a profiler leaves what it found
            logger=False,  # our module writes to the trackers, at its own pace
            callbacks=[*callbacks, *_early_stopping(settings)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
            **{**OUR_CHOICES, "benchmark": not settings.deterministic, **settings.lightning, "num_nodes": nodes},
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(
            f"Lightning refuses these trainer settings: {str(error).splitlines()[0]}",
            hint="look at trainer.strategy, trainer.accelerator, trainer.devices and trainer.lightning.*",
        ) from error
    # It would ask all ranks at each step whether one of them got a SIGTERM, and wait for the device. Ours: signals.py.
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
    return trainer


def _quieten() -> None:
    """Undo what Lightning sets for all of a process, and keep its hints to itself."""
    # Set by Lightning for processes that fork and then use a GPU, which ours don't. torch's Adam looks for a GPU at
    # each step, and in this way opens the driver's library anew each time where there is none: 0.1 to 0.3 ms.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    for name in ("pytorch_lightning", "lightning_fabric"):  # hints to its own users, some of them once a rank
        logging.getLogger(name).setLevel(logging.ERROR)
    # Lightning 2.6.6 asks torch 2.14 in an old way, at each batch.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    # A frozen backbone stays in evaluation mode on purpose.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")


def _early_stopping(settings: TrainerConfig) -> list[Callback]:
    if settings.early_stopping_patience is None:
        return []
    stopping = EarlyStopping(
        settings.monitor,
        mode=settings.mode,
        patience=settings.early_stopping_patience,
        check_on_train_epoch_end=False,  # but after the validation: the epoch's checkpoint holds its state
        check_finite=False,  # our module stops where the loss is no number
    )
    return [stopping]


def check_trainer_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse `trainer.lightning.*` keys that Lightning's Trainer doesn't have.

    Raises:
        ConfigError: Naming the nearest one.
    """
    known = list(inspect.signature(pl.Trainer.__init__).parameters)[1:]
    for name in arguments:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"trainer.lightning.{name}: pytorch_lightning.Trainer has no such argument",
                key=f"trainer.lightning.{name}",
                hint=f"did you mean trainer.lightning.{nearest[0]}?" if nearest else "",
            )
