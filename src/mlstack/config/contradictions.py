"""Settings that are fine one by one and cannot work together. Each is refused with both keys named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from mlstack.config.commands import TABLE_SUFFIXES, PredictConfig
from mlstack.config.data import DATASETS, DataConfig
from mlstack.config.engine_limits import check_arguments_of_other_engines, check_engine_limits
from mlstack.config.export import ExportConfig
from mlstack.config.model import LOSSES, ModelConfig
from mlstack.config.own_model_limits import check_own_model
from mlstack.config.passthrough import (
    check_lightning,
    check_loss_args,
    check_optimizer_args,
    check_paddle,
    check_scheduler_args,
)
from mlstack.config.predict_limits import check_who_answers
from mlstack.config.pruning_limits import check_pruning
from mlstack.config.root import WITH_HISTOGRAMS, Config
from mlstack.config.serving import ServeConfig
from mlstack.config.serving_limits import check_serving
from mlstack.config.suggestions import nearest
from mlstack.config.trainer import LESS_IS_BETTER, METRICS, TrainerConfig
from mlstack.errors import ConfigError


def check_contradictions(config: object) -> None:
    """Raises ConfigError for the first contradiction in a schema's instance or one of its groups."""
    for section in (config, *vars(config).values()):
        for check in CHECKS.get(type(section), ()):
            check(section)


def _task(config: Config) -> None:
    task, loss, monitor = config.data.task, config.model.loss, config.trainer.monitor
    if loss not in ("auto", *LOSSES[task]):
        message = f"model.loss={loss} does not fit data.task={task}"
        raise ConfigError(message, key="model.loss", allowed=("auto", *LOSSES[task]))
    check_loss_args(config.model, task)
    metrics = tuple(f"val_{metric}" for metric in METRICS[task])
    if monitor not in ("auto", *metrics):
        message = f"trainer.monitor={monitor} is not measured with data.task={task}"
        raise ConfigError(message, key="trainer.monitor", allowed=("auto", *metrics))
    monitor = metrics[1] if monitor == "auto" else monitor
    better, mode = better_direction(monitor), config.trainer.mode
    if mode not in ("auto", better):
        message = f"trainer.monitor={monitor} and trainer.mode={mode} contradict each other"
        hint = f"type trainer.monitor={monitor} trainer.mode={better}"
        raise ConfigError(message, key="trainer.mode", hint=hint)


def _balance(config: Config) -> None:
    weights = [name for name, value in config.model.loss_args.items() if value == "balanced"]
    if config.data.balance and weights:
        key = f"model.loss_args.{weights[0]}"
        message = f"data.balance=true and {key}=balanced would balance the classes twice"
        raise ConfigError(message, key=key, hint="drop one of the two")


def _divided(config: Config) -> None:
    """What needs the whole network on each device, and a strategy that divides it."""
    strategy = config.trainer.strategy
    if not strategy.startswith(("fsdp", "deepspeed")):
        return
    if config.trainer.ema_decay is not None:
        message = f"trainer.ema_decay needs the whole network on a device; trainer.strategy={strategy} divides it"
        raise ConfigError(message, key="trainer.ema_decay", hint="type trainer.ema_decay=null or trainer.strategy=ddp")
    if config.model.optimizer == "muon":
        message = f"model.optimizer=muon needs whole matrices on a device; trainer.strategy={strategy} divides them"
        raise ConfigError(message, key="model.optimizer", hint="type model.optimizer=adamw or trainer.strategy=ddp")


def _histograms(config: Config) -> None:
    if config.tracker_histograms and config.tracker not in WITH_HISTOGRAMS:
        message = f"tracker_histograms=true does not work with tracker={config.tracker}, which shows no histograms"
        hint = f"type {' or '.join(f'tracker={name}' for name in WITH_HISTOGRAMS)}, or drop tracker_histograms"
        raise ConfigError(message, key="tracker_histograms", hint=hint)


def _own_network(model: ModelConfig) -> None:
    if model.target is None:
        return
    _refuse_bad_target("model.target", model.target)
    if model.pretrained:
        message = f"model.target={model.target} and model.pretrained=true contradict each other"
        raise ConfigError(message, key="model.pretrained", hint="your own network has to load its weights itself")


def _warmup(model: ModelConfig) -> None:
    if model.scheduler in ("warmup_cosine", "one_cycle") and model.warmup_fraction >= 1:
        message = f"model.warmup_fraction=1 leaves no step for the way down of model.scheduler={model.scheduler}"
        raise ConfigError(message, key="model.warmup_fraction", allowed=("0 to below 1",))


def _data_source(data: DataConfig) -> None:
    if data.target is not None:
        return _refuse_bad_target("data.target", data.target)
    if data.name not in DATASETS:
        near = nearest(data.name, DATASETS)
        hint = f"did you mean data={near}" if near else "your own data set needs data.target=module:callable"
        raise ConfigError(f"data.name={data.name} is no data set", key="data.name", allowed=DATASETS, hint=hint)
    if data.name == "image_folder" and data.path is None:
        message = "data.name=image_folder needs data.path, the folder that holds a folder for each class"
        raise ConfigError(message, key="data.path", hint="such as data=image_folder data.path=photos/")
    if data.name == "image_table" and data.table is None:
        message = "data.name=image_table needs data.table, a CSV of file names and targets"
        raise ConfigError(message, key="data.table", hint="such as data=image_table data.table=photos/prices.csv")
    if data.name == "journal" and data.path is None:
        message = "data.name=journal needs data.path, the folder that a server got as serve.journal.folder"
        raise ConfigError(message, key="data.path", hint="such as data=journal data.path=journal/")
    return None


def _data_task(data: DataConfig) -> None:
    if data.task != "classification" and data.target is None and data.name not in ("image_table", "journal"):
        message = f"data.task={data.task} does not fit data.name={data.name}, whose pictures have one class each"
        raise ConfigError(
            message, key="data.task", hint="a CSV can hold other targets: data=image_table data.table=FILE"
        )
    only = {"data.balance": data.balance, "data.class_shares": data.class_shares}
    for key, value in only.items():
        if value and data.task != "classification":
            raise ConfigError(f"{key} needs classes, which data.task={data.task} has not", key=key, hint=f"drop {key}")
    for name in ("mixup", "cutmix"):
        if getattr(data.augment, name) and data.task == "regression":
            message = f"data.augment.{name} blends classes, which data.task=regression has not"
            raise ConfigError(message, key=f"data.augment.{name}", hint=f"type data.augment.{name}=0")
    if data.augment.flip and data.augment.alternating_flip:
        message = f"data.augment.flip={data.augment.flip} and data.augment.alternating_flip=true contradict each other"
        raise ConfigError(message, key="data.augment.flip", hint="type data.augment.flip=0")


def _normalisation(data: DataConfig) -> None:
    if (data.mean is None) != (data.std is None):
        given, missing = ("data.mean", "data.std") if data.std is None else ("data.std", "data.mean")
        message = f"{given} is given and {missing} is not"
        raise ConfigError(
            message, key=missing, hint="give both, or neither: they are then measured on the training images"
        )
    if data.mean is None or data.std is None:
        return
    sizes = {"data.mean": len(data.mean), "data.std": len(data.std)}
    expected = data.channels or max(sizes.values())
    for key, size in sizes.items():
        if size != expected or size == 0:
            message = f"data.mean has {sizes['data.mean']} and data.std {sizes['data.std']} values"
            of = f"data.channels={data.channels}" if data.channels else "one for each channel, equally many in both"
            raise ConfigError(message, key=key, allowed=(of,))
    for key, values, least in (("data.mean", data.mean, 0.0), ("data.std", data.std, 1e-6)):
        if not all(least <= value <= 1 for value in values):
            words = "0 to 1, as images are scaled" if least == 0 else "above 0, up to 1, as images are scaled"
            raise ConfigError(f"{key}={values} is out of range", key=key, allowed=(words,))


def _splits(data: DataConfig) -> None:
    if data.val_fraction + data.test_fraction >= 1:
        given = f"data.val_fraction={data.val_fraction} and data.test_fraction={data.test_fraction}"
        raise ConfigError(
            f"{given} leave nothing to train on", key="data.val_fraction", hint="their sum has to stay below 1"
        )
    if data.classes is not None and len(set(data.classes)) != len(data.classes):
        raise ConfigError(f"data.classes={data.classes} names a class twice", key="data.classes")


def _precision(trainer: TrainerConfig) -> None:
    if trainer.precision == "16" and trainer.accelerator == "cpu":
        message = "trainer.precision=16 does not work on trainer.accelerator=cpu"
        raise ConfigError(message, key="trainer.precision", hint="a CPU trains with trainer.precision=bf16 (or 32)")


def _shares(trainer: TrainerConfig) -> None:
    for split in ("train", "val", "test"):
        name = f"trainer.limit_{split}_batches"
        value = getattr(trainer, f"limit_{split}_batches")
        if isinstance(value, float) and value > 1:
            allowed = ("a whole number of batches", "a share up to 1.0")
            raise ConfigError(f"{name}={value} is neither a number of batches nor a share", key=name, allowed=allowed)


def better_direction(monitor: str) -> str:
    """`max` or `min`: whether more or less of a monitored metric (`val_accuracy`) is better."""
    return "min" if monitor.removeprefix("val_") in LESS_IS_BETTER else "max"


def _early_stopping(trainer: TrainerConfig) -> None:
    if trainer.early_stopping_patience is not None and trainer.limit_val_batches == 0:
        message = "trainer.early_stopping_patience needs validation, which trainer.limit_val_batches=0 skips"
        raise ConfigError(message, key="trainer.early_stopping_patience", hint="drop one of the two")


def _prediction_files(predict: PredictConfig) -> None:
    if PurePath(predict.output).suffix.lower() not in TABLE_SUFFIXES:
        message = f"output={predict.output} has no ending that names a kind of table"
        raise ConfigError(message, key="output", allowed=TABLE_SUFFIXES, hint="such as output=predictions.csv")
    if predict.grid is not None and PurePath(predict.grid).suffix.lower() != ".png":
        raise ConfigError(f"grid={predict.grid} is not a .png", key="grid", hint="such as grid=predictions.png")
    if not predict.input:
        raise ConfigError("input=[] names no picture", key="input", hint="such as input=photos/")


def _refuse_bad_target(key: str, target: str) -> None:
    module, _, name = target.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        message = f"{key}={target} is not of the form module:callable"
        raise ConfigError(message, key=key, hint=f"{key}=my_package.my_file:build, a file in --config-dir's folder")


CHECKS: dict[type, tuple[Callable[[Any], None], ...]] = {
    Config: (_task, _balance, _divided, _histograms, check_pruning, check_engine_limits),
    ModelConfig: (_own_network, _warmup, check_optimizer_args, check_scheduler_args),
    DataConfig: (_data_source, _data_task, _normalisation, _splits),
    TrainerConfig: (
        _precision,
        _shares,
        _early_stopping,
        check_lightning,
        check_paddle,
        check_arguments_of_other_engines,
    ),
    PredictConfig: (_prediction_files, check_who_answers),
    ExportConfig: (check_own_model,),
    ServeConfig: (check_serving,),
}
