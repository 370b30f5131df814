"""One run with PyTorch Lightning."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch

from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.base import BatchSource, Predictions, RunResult
from mlstack.engines.budget import limited, total_steps
from mlstack.engines.lightning import inference
from mlstack.engines.lightning.checkpoints import Checkpoints, load_weights
from mlstack.engines.lightning.devices import check_devices, device_name
from mlstack.engines.lightning.loaders import GroupedLoader
from mlstack.engines.lightning.module import TrainingModule
from mlstack.engines.lightning.progress import RunProgress, Speed
from mlstack.engines.lightning.trackers import build_trackers, close_trackers
from mlstack.engines.lightning.trainer import build_trainer, check_trainer_arguments
from mlstack.models.pytorch import Classifier, build_classifier
from mlstack.runs import RUN_FOLDER_VARIABLE, RunFolder
from mlstack.utils.memory import peak_memory_mb


class LightningEngine:
    """The engine contract on PyTorch Lightning."""

    def __init__(self) -> None:
        self._classifier: Classifier | None = None

    def check(self, config: Config) -> None:
        """Refuse devices and precisions that this machine does not have, and Trainer arguments that don't exist."""
        check_devices(config)
        check_trainer_arguments(config.trainer.lightning)

    def fit(self, config: Config, dataset: Dataset, run: RunFolder) -> RunResult:
        """Train, validate, and leave checkpoints and metrics.csv in the run folder. See `Engine.fit`."""
        started = time.perf_counter()
        torch.manual_seed(config.seed)
        classifier = build_classifier(config.model, config.data, channels_last=config.trainer.channels_last)
        self._classifier = classifier
        speed, checkpoints = Speed(), Checkpoints(run.checkpoints, config.trainer)
        callbacks: list[pl.Callback] = [speed]
        if config.trainer.progress_bar:
            callbacks.append(RunProgress())
        if not config.trainer.fast_dev_run:
            callbacks.append(checkpoints)
        trainer = build_trainer(config, trackers=build_trackers(config, run), callbacks=callbacks)
        train, validation = _loaders(config, dataset, trainer)
        steps = len(train.numbers)
        module = TrainingModule(
            classifier,
            config,
            total_steps=total_steps(config.trainer, steps),
            images_per_epoch=min(len(dataset.splits["train"]), steps * config.data.batch_size * trainer.world_size),
        )
        if config.trainer.compile:
            classifier.compile()
        try:
            with _launching(run):
                trainer.fit(module, train, validation)
        finally:
            close_trackers(trainer.loggers)
        device = trainer.strategy.root_device
        best = checkpoints.best
        return RunResult(
            is_main=trainer.is_global_zero,
            epochs=trainer.current_epoch,
            steps=trainer.global_step,
            best_epoch=best[0] if best else None,
            best_score=best[1] if best else None,
            images_per_second=speed.images_per_second,
            train_seconds=time.perf_counter() - started,
            peak_memory_mb=torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else peak_memory_mb(),
            gpu_utilization=speed.gpu_utilization,
            parameters=sum(parameter.numel() for parameter in classifier.parameters()),
            device=device_name(device),
            stopped_early=trainer.current_epoch < config.trainer.max_epochs
            and trainer.global_step < module.total_steps,  # else it was trainer.max_steps
        )

    def predict(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Predictions:
        """Probabilities for every picture of a source, in its order. See `Engine.predict`."""
        classifier = self._classifier
        if classifier is None:
            model = replace(config.model, pretrained=False)  # the weights come from the checkpoint
            classifier = build_classifier(model, config.data, channels_last=config.trainer.channels_last)
        if config.trainer.precision == "64":
            classifier.double()  # before the weights come in, or they would be rounded
        if not config.trainer.fast_dev_run:
            load_weights(classifier, run.checkpoint(checkpoint))
        self._classifier = classifier
        return inference.predict(classifier, config, source)


@contextmanager
def _launching(run: RunFolder) -> Iterator[None]:
    """Tell the processes that Lightning starts for the other devices the run folder; let Ctrl-C stay what it is."""
    os.environ[RUN_FOLDER_VARIABLE] = str(run.path.absolute())
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning's answer is sys.exit(1)
            raise KeyboardInterrupt from error
        raise
    finally:
        os.environ.pop(RUN_FOLDER_VARIABLE, None)


def _loaders(config: Config, dataset: Dataset, trainer: pl.Trainer) -> tuple[GroupedLoader, GroupedLoader]:
    """Batches for training and validation; with several ranks, this rank's part of each."""
    data, settings = config.data, config.trainer
    pin_memory = trainer.strategy.root_device.type == "cuda" if data.pin_memory is None else data.pin_memory
    shared: dict[str, Any] = {
        "batch_size": data.batch_size,
        "image_size": data.image_size,
        "rank": trainer.global_rank,
        "world_size": trainer.world_size,
    }
    train = BatchLoader(dataset.splits["train"], seed=config.seed, shuffle=True, augment=data.augment, **shared)
    validation = BatchLoader(dataset.splits["val"], **shared)
    return (
        GroupedLoader(
            train,
            data,
            steps=limited(len(train), settings.limit_train_batches),
            group=settings.accumulate_grad_batches * settings.steps_per_execution,
            pin_memory=pin_memory,
        ),
        GroupedLoader(
            validation, data, steps=limited(len(validation), settings.limit_val_batches), pin_memory=pin_memory
        ),
    )
