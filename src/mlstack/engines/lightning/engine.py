"""One run with PyTorch Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch

from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.engines.base import Answers, BatchSource, Predictions, RunResult
from mlstack.engines.batches import class_counts, plan_of, sources, whitening_images
from mlstack.engines.budget import limited
from mlstack.engines.checkpoint_files import CheckpointFolder
from mlstack.engines.devices import check_devices
from mlstack.engines.guards import closing_unless_done
from mlstack.engines.lightning import inference
from mlstack.engines.lightning.checkpoints import Checkpoints
from mlstack.engines.lightning.devices import connect, device_name, gathered, machine, share_text, world_size
from mlstack.engines.lightning.distillation import build_teacher
from mlstack.engines.lightning.export import write_onnx
from mlstack.engines.lightning.guards import explained, launching
from mlstack.engines.lightning.loaders import GroupedLoader
from mlstack.engines.lightning.losses import build_loss
from mlstack.engines.lightning.module import TrainingModule
from mlstack.engines.lightning.position import tell_lightning
from mlstack.engines.lightning.progress import RunProgress, Speed
from mlstack.engines.lightning.pruning import prune
from mlstack.engines.lightning.quantization_aware import make_quantization_aware
from mlstack.engines.lightning.restore import build_network, load_weights, start_from
from mlstack.engines.lightning.signals import StopOnSignal
from mlstack.engines.lightning.trainer import build_trainer, check_trainer_arguments
from mlstack.engines.lightning.weight_files import read_checkpoint
from mlstack.engines.lightning.weight_histograms import WeightHistograms
from mlstack.engines.position import Position
from mlstack.engines.restore import go_back, needed_weights, newest_checkpoint, starting_point
from mlstack.models.pytorch import Classifier, whiten
from mlstack.runs import RunFolder
from mlstack.trackers import Tracker, build_trackers, finish_trackers
from mlstack.utils.console import say
from mlstack.utils.memory import peak_memory_mb
from mlstack.utils.ranks import is_main_process


class LightningEngine:
    """The engine contract on PyTorch Lightning."""

    def __init__(self) -> None:
        self._classifier: Classifier | None = None
        self._trackers: list[Tracker] = []

    def check(self, config: Config) -> None:
        """Refuse devices and precisions that this machine does not have, and Trainer arguments that don't exist."""
        check_devices(config.trainer, machine())
        check_trainer_arguments(config.trainer.lightning)

    def share(self, config: Config, text: str | None) -> str:
        """Rank 0's text on every process of a run. See `Engine.share`."""
        return share_text(text, config.trainer.accelerator)

    def world_size(self, config: Config) -> int:
        """Processes that share the work. See `Engine.world_size`."""
        return world_size(config.trainer)

    def fit(self, config: Config, dataset: Dataset, run: RunFolder) -> RunResult:
        """Train, validate, and leave checkpoints and metrics.csv in the run folder. See `Engine.fit`."""
        resumes = config.resume is not None
        newest = newest_checkpoint(run.checkpoints, read_checkpoint) if resumes else None
        checkpoint, position = newest or (None, Position())
        position.check_world_size(world_size(config.trainer))
        connect(config.trainer.accelerator)
        position.check_shared(gathered(position.place))
        torch.manual_seed(config.seed)
        model = config.model if checkpoint is None else replace(config.model, pretrained=False)
        last, weights = config.trainer.channels_last, checkpoint or starting_point(config)
        self._classifier = build_network(model, config.data, weights, channels_last=last)
        if checkpoint is None:
            _prepare(self._classifier, config, dataset, run)
        if resumes:
            go_back(run, position)
        trackers = build_trackers(config, run, resumed_step=position.step if resumes else None)
        with closing_unless_done(trackers):
            result = self._train(config, dataset, run, trackers, checkpoint=checkpoint, position=position)
        self._trackers = trackers
        return result

    def _train(
        self,
        config: Config,
        dataset: Dataset,
        run: RunFolder,
        trackers: list[Tracker],
        *,
        checkpoint: Path | None,
        position: Position,
    ) -> RunResult:
        assert self._classifier is not None
        speed = Speed()
        files = CheckpointFolder(run.checkpoints, config.trainer, resumed_from=checkpoint)
        trainer = build_trainer(config, callbacks=_callbacks(config, speed, files))
        source, held_out = sources(config, dataset, rank=trainer.global_rank, world_size=trainer.world_size)
        train, validation = _loaders(config, trainer, source, held_out)
        train.set_position(position.epoch, position.batches)
        module = TrainingModule(
            self._classifier,
            build_loss(config.model, config.data, class_counts=class_counts(dataset), images=len(source.split)),
            config,
            plan=plan_of(config, source, batches=train.numbers.steps),
            position=position,
            trackers=trackers,
            metrics_path=run.metrics_path,
            teacher=build_teacher(config),
        )
        if config.trainer.quantization_aware:
            make_quantization_aware(self._classifier)
        if config.trainer.compile:
            self._classifier.compile()
        tell_lightning(trainer, position)
        if position.stopped:
            trainer.fit_loop.max_epochs = position.epoch  # early stopping ended it, and what came after it was cut off
        with launching(run), explained(config), closing(train), closing(validation):
            trainer.fit(module, train, validation, ckpt_path=checkpoint)
        return _result(trainer, module, speed, files)

    def report(self, run: RunFolder, images: Sequence[Path], *, status: str) -> None:
        """Send what came out to the tracker, and end its record. See `Engine.report`."""
        finish_trackers(self._trackers, run, images=images, status=status)

    def predict(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Predictions:
        """Probabilities for every picture of a source, in its order. See `Engine.predict`."""
        return inference.predict(self._asked(config, run, checkpoint), config, source)

    def answers(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Answers:
        """Logits and features for every picture of a source, in its order. See `Engine.answers`."""
        return inference.answers(self._asked(config, run, checkpoint), config, source)

    def export_onnx(self, config: Config, path: Path, *, run: RunFolder, checkpoint: str = "best") -> None:
        """Write the network as ONNX, from normalised pixels to logits and features. See `Engine.export_onnx`."""
        model = replace(config.model, pretrained=False, gradient_checkpointing=False)
        weights = run.checkpoint(checkpoint)
        classifier = build_network(model, config.data, weights, channels_last=False)
        load_weights(classifier, weights)
        write_onnx(classifier, config, path)

    def _asked(self, config: Config, run: RunFolder, checkpoint: str) -> Classifier:
        """The network with a checkpoint's weights; of a run that kept none, with those that `fit` left."""
        classifier = self._classifier
        if classifier is None:
            model = replace(config.model, pretrained=False)  # the weights come from the checkpoint
            last, weights = config.trainer.channels_last, run.checkpoint(checkpoint)
            classifier = build_network(model, config.data, weights, channels_last=last)
        if config.trainer.precision == "64":
            classifier.double()  # before the weights come in, or they would be rounded
        if not config.trainer.fast_dev_run:
            load_weights(classifier, run.checkpoint(checkpoint))
        self._classifier = classifier
        return classifier


def _prepare(classifier: Classifier, config: Config, dataset: Dataset, run: RunFolder) -> None:
    """What the weights of a new run start from: another run's, pruned or not, and filters that fit the data."""
    if config.model.whitening:
        whiten(classifier, torch.from_numpy(whitening_images(dataset)))
    if config.init_from is not None:
        taken = start_from(classifier, Path(config.init_from), needed=needed_weights(config))
        if is_main_process():
            say(f"init_from   {taken}")
    prune(classifier, config, run)


def _callbacks(config: Config, speed: Speed, files: CheckpointFolder) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = [speed]
    if config.trainer.progress_bar:
        callbacks.append(RunProgress())
    if not config.trainer.fast_dev_run:
        checkpoints = Checkpoints(files, monitor=config.trainer.monitor)
        callbacks += [checkpoints, StopOnSignal(checkpoints)]
    if config.tracker_histograms:
        callbacks.append(WeightHistograms())
    return callbacks


def _loaders(
    config: Config, trainer: pl.Trainer, source: BatchSource, held_out: BatchSource
) -> tuple[GroupedLoader, GroupedLoader]:
    """Batches of training and of validation as tensors."""
    data, settings = config.data, config.trainer
    pin_memory = trainer.strategy.root_device.type == "cuda" if data.pin_memory is None else data.pin_memory
    train = GroupedLoader(
        source,
        data,
        steps=limited(len(source), settings.limit_train_batches),
        group=settings.accumulate_grad_batches * settings.steps_per_execution,
        pin_memory=pin_memory,
    )
    steps = limited(len(held_out), settings.limit_val_batches)
    return train, GroupedLoader(held_out, data, steps=steps, pin_memory=pin_memory)


def _result(trainer: pl.Trainer, module: TrainingModule, speed: Speed, files: CheckpointFolder) -> RunResult:
    device, best = trainer.strategy.root_device, files.best
    return RunResult(
        is_main=trainer.is_global_zero,
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        best_epoch=best[0] if best else None,
        best_score=best[1] if best else None,
        images_per_second=speed.watch.images_per_second,
        train_seconds=module.record.seconds,
        cpu_seconds=module.record.cpu_seconds,
        peak_memory_mb=torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else peak_memory_mb(),
        gpu_utilization=speed.watch.gpu_utilization,
        parameters=sum(parameter.numel() for parameter in module.classifier.parameters()),
        device=device_name(device),
        world_size=trainer.world_size,
        stopped_early=module.position.stopped,
        teacher_parameters=None if module.teacher is None else module.teacher.parameters,
    )
