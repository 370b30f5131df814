"""One run with PaddlePaddle's high-level API."""

from __future__ import annotations

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401  # before anything else imports Paddle

import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import paddle

from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.engines.base import Answers, BatchSource, Predictions, RunResult
from mlstack.engines.batches import class_counts, plan_of, sources, whitening_images
from mlstack.engines.budget import limited
from mlstack.engines.checkpoint_files import CheckpointFolder
from mlstack.engines.devices import check_devices
from mlstack.engines.guards import announced, closing_unless_done, lost_connection, out_of_memory
from mlstack.engines.paddle import inference
from mlstack.engines.paddle.callbacks import Conductor, Validation
from mlstack.engines.paddle.checkpoints import Checkpoints
from mlstack.engines.paddle.devices import device_name, gathered, machine, rank, set_device, share_text, world_size
from mlstack.engines.paddle.distillation import build_teacher
from mlstack.engines.paddle.export import write_onnx
from mlstack.engines.paddle.flags import check_flags, with_flags
from mlstack.engines.paddle.launch import joined
from mlstack.engines.paddle.loaders import GroupedLoader
from mlstack.engines.paddle.losses import build_loss
from mlstack.engines.paddle.module import TrainingModel
from mlstack.engines.paddle.pruning import prune
from mlstack.engines.paddle.quantization_aware import make_quantization_aware
from mlstack.engines.paddle.restore import build_network, load_weights, start_from
from mlstack.engines.paddle.weight_files import read_checkpoint
from mlstack.engines.position import Position
from mlstack.engines.progress import Stopwatch
from mlstack.engines.restore import go_back, needed_weights, newest_checkpoint, starting_point
from mlstack.engines.stopping import Patience
from mlstack.models.paddle import Classifier, whiten
from mlstack.runs import RunFolder
from mlstack.trackers import Tracker, build_trackers, finish_trackers
from mlstack.utils.console import say
from mlstack.utils.memory import peak_memory_mb
from mlstack.utils.ranks import is_main_process


class PaddleEngine:
    """The engine contract on PaddlePaddle."""

    def __init__(self) -> None:
        self._classifier: Classifier | None = None
        self._trackers: list[Tracker] = []

    def check(self, config: Config) -> None:
        """Refuse devices and precisions that this machine does not have, and flags that Paddle does not know."""
        check_devices(config.trainer, machine())
        check_flags(config.trainer.paddle)

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
        ranks = world_size(config.trainer)
        position.check_world_size(ranks)
        with announced(run), explained(config), joined(config.trainer, ranks), prepared(config):
            position.check_shared(gathered(position.place))
            device = set_device(config.trainer.accelerator)
            paddle.seed(config.seed)
            model = config.model if checkpoint is None else replace(config.model, pretrained=False)
            self._classifier = build_network(model, config.data, checkpoint or starting_point(config))
            if config.trainer.sync_batchnorm and ranks > 1:
                paddle.nn.SyncBatchNorm.convert_sync_batchnorm(self._classifier)
            if checkpoint is None:
                _prepare(self._classifier, config, dataset, run)
            if resumes:
                go_back(run, position)
            self._trackers = build_trackers(config, run, resumed_step=position.step if resumes else None)
            with closing_unless_done(self._trackers):
                return self._train(config, dataset, run, device, checkpoint=checkpoint, position=position)

    def _train(
        self,
        config: Config,
        dataset: Dataset,
        run: RunFolder,
        device: str,
        *,
        checkpoint: Path | None,
        position: Position,
    ) -> RunResult:
        assert self._classifier is not None
        settings, ranks = config.trainer, world_size(config.trainer)
        source, held_out = sources(config, dataset, rank=rank(), world_size=ranks)
        steps = limited(len(source), settings.limit_train_batches)
        model = TrainingModel(
            self._classifier,
            build_loss(config.model, config.data, class_counts=class_counts(dataset), images=len(source.split)),
            config,
            plan=plan_of(config, source, batches=steps),
            position=position,
            trackers=self._trackers,
            metrics_path=run.metrics_path,
            world_size=ranks,
            teacher=build_teacher(config),
        )
        if settings.quantization_aware:
            make_quantization_aware(self._classifier)
        checkpoints = Checkpoints(
            model,
            CheckpointFolder(run.checkpoints, settings, resumed_from=checkpoint),
            watch=Stopwatch(),
            patience=_patience(config),
        )
        if checkpoint is not None:
            checkpoints.restore(read_checkpoint(checkpoint))
        if settings.compile:
            paddle.jit.to_static(self._classifier)
        group = settings.accumulate_grad_batches * settings.steps_per_execution
        train = GroupedLoader(source, config.data, steps=steps, group=group, is_over=lambda: model.is_over)
        held = GroupedLoader(held_out, config.data, steps=limited(len(held_out), settings.limit_val_batches))
        with closing(train), closing(held):
            _fit(model, checkpoints, train, Validation(held, model))
        return _result(model, checkpoints, device)

    def report(self, run: RunFolder, images: Sequence[Path], *, status: str) -> None:
        """Send what came out to the tracker, and end its record. See `Engine.report`."""
        finish_trackers(self._trackers, run, images=images, status=status)

    def predict(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Predictions:
        """Probabilities for every picture of a source, in its order. See `Engine.predict`."""
        with prepared(config):
            return inference.predict(self._asked(config, run, checkpoint), config, source)

    def answers(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Answers:
        """Logits and features for every picture of a source, in its order. See `Engine.answers`."""
        with prepared(config):
            return inference.answers(self._asked(config, run, checkpoint), config, source)

    def export_onnx(self, config: Config, path: Path, *, run: RunFolder, checkpoint: str = "best") -> None:
        """Write the network as ONNX, from normalised pixels to logits and features. See `Engine.export_onnx`."""
        with prepared(config):
            set_device("cpu")
            model = replace(config.model, pretrained=False, gradient_checkpointing=False)
            weights = run.checkpoint(checkpoint)
            classifier = build_network(model, config.data, weights)
            load_weights(classifier, weights)
            write_onnx(classifier, config, path)

    def _asked(self, config: Config, run: RunFolder, checkpoint: str) -> Classifier:
        """The network with a checkpoint's weights; of a run that kept none, with those that `fit` left."""
        classifier = self._classifier
        if classifier is None:
            set_device(config.trainer.accelerator)
            model = replace(config.model, pretrained=False)  # the weights come from the checkpoint
            classifier = build_network(model, config.data, run.checkpoint(checkpoint))
        if not config.trainer.fast_dev_run:
            load_weights(classifier, run.checkpoint(checkpoint))
        self._classifier = classifier
        return classifier


@contextmanager
def prepared(config: Config) -> Iterator[None]:
    """Paddle's process-wide settings as this run needs them, and as they were afterwards.

    Its names of parameters and optimizer states are counted through a process: a second run of it would not find its
    own in a checkpoint.
    """
    dtype = paddle.get_default_dtype()
    with paddle.utils.unique_name.guard(), with_flags(config.trainer), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensor do not have 'place'")  # Paddle's of itself, in to_static
        paddle.set_default_dtype("float64" if config.trainer.precision == "64" else "float32")
        try:
            yield
        finally:
            paddle.set_default_dtype(dtype)


@contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turn memory that runs out, and another process that is gone, into one message with what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (lost := lost_connection(error)) is not None:
            raise lost from error
        if not isinstance(error, MemoryError) and "ResourceExhausted" not in str(error):
            raise
        raise out_of_memory(config) from error


def _prepare(classifier: Classifier, config: Config, dataset: Dataset, run: RunFolder) -> None:
    """What the weights of a new run start from: another run's, pruned or not, and filters that fit the data."""
    if config.model.whitening:
        whiten(classifier, paddle.to_tensor(whitening_images(dataset)))
    if config.init_from is not None:
        taken = start_from(classifier, Path(config.init_from), needed=needed_weights(config))
        if is_main_process():
            say(f"init_from   {taken}")
    prune(classifier, config, run)


def _patience(config: Config) -> Patience | None:
    patience = config.trainer.early_stopping_patience
    return None if patience is None else Patience(mode=config.trainer.mode, patience=patience)


def _fit(model: TrainingModel, checkpoints: Checkpoints, train: GroupedLoader, validation: Validation) -> None:
    """Go through the epochs that are left."""
    epochs = model.config.trainer.max_epochs - model.position.epoch
    if epochs <= 0 or model.position.stopped or (model.is_over and not model.position.batches):
        return  # everything was done before the run was stopped; paddle.Model.fit can't do nothing
    conductor = Conductor(model, checkpoints, train=train, validation=validation)
    with closing(conductor):
        model.fit(
            train,
            validation if len(validation.batches.numbers) else None,
            epochs=epochs,
            verbose=0,
            callbacks=[conductor],
        )


def _result(model: TrainingModel, checkpoints: Checkpoints, device: str) -> RunResult:
    best = checkpoints.files.best
    on_gpu = device != "cpu"
    return RunResult(
        is_main=is_main_process(),
        epochs=model.position.epoch,
        steps=model.position.step,
        best_epoch=best[0] if best else None,
        best_score=best[1] if best else None,
        images_per_second=checkpoints.watch.images_per_second,
        train_seconds=model.record.seconds,
        cpu_seconds=model.record.cpu_seconds,
        peak_memory_mb=paddle.device.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_memory_mb(),
        gpu_utilization=checkpoints.watch.gpu_utilization,
        parameters=sum(int(weight.size) for weight in model.weights.values()),
        device=device_name(device),
        world_size=model.world_size,
        stopped_early=model.position.stopped,
        teacher_parameters=None if model.teacher is None else model.teacher.parameters,
    )
