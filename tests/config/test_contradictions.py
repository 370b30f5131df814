"""Settings on both sides of the line between what works together and what is refused; whose key the refusal names."""

from __future__ import annotations

from typing import Any

import pytest

from mlstack.config import AugmentConfig, Config, DataConfig, ModelConfig, PruneConfig, TrainerConfig
from mlstack.config.commands import PredictConfig
from mlstack.config.contradictions import better_direction, check_contradictions
from mlstack.errors import ConfigError


def data(**keys: Any) -> DataConfig:
    return DataConfig(**keys)


def config(**groups: Any) -> Config:
    return Config(**groups)


FINE = [
    data(mean=[0.0], std=[1.0]),
    data(mean=[1.0, 0.5], std=[1e-6, 0.5]),
    data(mean=[0.5] * 3, std=[0.5] * 3, channels=3),
    data(val_fraction=0.5, test_fraction=0.49),
    data(classes=["cat", "dog"]),
    data(name="image_folder", path="photos"),
    data(name="image_table", table="prices.csv", task="regression"),
    data(name="image_table", table="prices.csv", task="multilabel", augment=AugmentConfig(mixup=0.2, cutmix=1.0)),
    data(name="journal", path="journal", task="multilabel"),
    data(name="anything", target="my_data:load", task="regression"),
    data(balance=True, class_shares=[0.5]),
    data(augment=AugmentConfig(flip=0.5)),
    data(augment=AugmentConfig(alternating_flip=True)),
    ModelConfig(scheduler="warmup_cosine", warmup_fraction=0.99),
    ModelConfig(scheduler="cosine", warmup_fraction=1.0),
    ModelConfig(target="my_package.nets:build"),
    ModelConfig(pretrained=True),
    TrainerConfig(precision="16", accelerator="gpu"),
    TrainerConfig(precision="bf16", accelerator="cpu"),
    TrainerConfig(limit_train_batches=1.0, limit_val_batches=2, limit_test_batches=0.5),
    TrainerConfig(early_stopping_patience=3, limit_val_batches=1),
    TrainerConfig(limit_val_batches=0),
    PredictConfig(input=["a.jpg"], output="p.JSON", grid="g.PNG"),
    config(trainer=TrainerConfig(monitor="val_loss", mode="min")),
    config(trainer=TrainerConfig(mode="max")),
    config(trainer=TrainerConfig(strategy="ddp", ema_decay=0.9), model=ModelConfig(optimizer="muon")),
    config(data=data(balance=True)),
    config(model=ModelConfig(loss_args={"class_weights": "balanced"})),
    config(tracker="tensorboard", tracker_histograms=True),
    config(prune=PruneConfig(ratio=0.5), init_from="latest"),
    config(prune=PruneConfig(ratio=0.5), resume="latest"),
    config(model=ModelConfig(pruned=True), resume="latest"),
    config(
        prune=PruneConfig(ratio=0.5, method="unstructured"), init_from="latest", trainer=TrainerConfig(strategy="ddp")
    ),
]

REFUSED: list[tuple[object, str, str]] = [
    (data(mean=[0.5]), "data.std", "data.mean is given and data.std is not"),
    (data(std=[0.5]), "data.mean", "data.std is given and data.mean is not"),
    (data(mean=[0.5], std=[0.5, 0.5]), "data.mean", "data.mean has 1 and data.std 2 values"),
    (data(mean=[0.5, 0.5], std=[0.5]), "data.std", "data.mean has 2 and data.std 1 values"),
    (data(mean=[0.5] * 2, std=[0.5] * 2, channels=3), "data.mean", "allowed: data.channels=3"),
    (data(mean=[0.5] * 3, std=[0.5] * 2, channels=3), "data.std", "data.std 2 values\nallowed: data.channels=3"),
    (data(mean=[0.5] * 4, std=[0.5] * 4, channels=3), "data.mean", "data.mean has 4"),
    (data(mean=[], std=[]), "data.mean", "allowed: one for each channel, equally many in both"),
    (data(mean=[0.5, 1.01], std=[0.5] * 2), "data.mean", "allowed: 0 to 1, as images are scaled"),
    (data(mean=[-0.01], std=[0.5]), "data.mean", "is out of range"),
    (data(mean=[0.5], std=[1.01]), "data.std", "allowed: above 0, up to 1, as images are scaled"),
    (data(mean=[0.5], std=[0.0]), "data.std", "is out of range"),
    (data(val_fraction=0.5, test_fraction=0.5), "data.val_fraction", "leave nothing to train on"),
    (data(classes=["cat", "dog", "cat"]), "data.classes", "names a class twice"),
    (data(name="image_folder"), "data.path", "needs data.path"),
    (data(name="image_table"), "data.table", "needs data.table"),
    (data(name="journal"), "data.path", "needs data.path, the folder that a server got"),
    (data(name="cifar11"), "data.name", "did you mean data=cifar10"),
    (data(name="photographs"), "data.name", "your own data set needs data.target"),
    (data(target="my_data.load"), "data.target", "is not of the form module:callable"),
    (data(task="multilabel"), "data.task", "whose pictures have one class each"),
    (data(name="journal", path="j", task="multilabel", balance=True), "data.balance", "data.balance needs classes"),
    (data(name="journal", path="j", task="regression", class_shares=[1]), "data.class_shares", "needs classes"),
    (
        data(name="journal", path="j", task="regression", augment=AugmentConfig(cutmix=1.0)),
        "data.augment.cutmix",
        "data.augment.cutmix blends classes",
    ),
    (data(augment=AugmentConfig(flip=0.5, alternating_flip=True)), "data.augment.flip", "contradict each other"),
    (ModelConfig(scheduler="one_cycle", warmup_fraction=1.0), "model.warmup_fraction", "allowed: 0 to below 1"),
    (ModelConfig(target="my_net:build", pretrained=True), "model.pretrained", "contradict each other"),
    (ModelConfig(target="my-net:build"), "model.target", "is not of the form module:callable"),
    (TrainerConfig(precision="16", accelerator="cpu"), "trainer.precision", "trainer.precision=bf16 (or 32)"),
    (TrainerConfig(limit_test_batches=1.5), "trainer.limit_test_batches", "neither a number of batches nor a share"),
    (TrainerConfig(early_stopping_patience=0, limit_val_batches=0), "trainer.early_stopping_patience", "needs valid"),
    (PredictConfig(input=["a.jpg"], output="p.txt"), "output", "allowed: .csv, .json"),
    (PredictConfig(input=["a.jpg"], grid="g.jpg"), "grid", "is not a .png"),
    (PredictConfig(input=[]), "input", "input=[] names no picture"),
    (config(trainer=TrainerConfig(mode="min")), "trainer.mode", "trainer.monitor=val_accuracy trainer.mode=max"),
    (config(trainer=TrainerConfig(monitor="val_loss", mode="max")), "trainer.mode", "trainer.mode=min"),
    (config(trainer=TrainerConfig(monitor="val_mae")), "trainer.monitor", "is not measured with data.task"),
    (config(model=ModelConfig(loss="mse")), "model.loss", "does not fit data.task=classification"),
    (config(trainer=TrainerConfig(strategy="fsdp", ema_decay=0.9)), "trainer.ema_decay", "type trainer.ema_decay=null"),
    (
        config(trainer=TrainerConfig(strategy="deepspeed"), model=ModelConfig(optimizer="muon")),
        "model.optimizer",
        "needs whole matrices",
    ),
    (
        config(data=data(balance=True), model=ModelConfig(loss_args={"class_weights": "balanced"})),
        "model.loss_args.class_weights",
        "would balance the classes twice",
    ),
    (config(tracker="none", tracker_histograms=True), "tracker_histograms", "which shows no histograms"),
    (config(prune=PruneConfig(ratio=0.5)), "prune.ratio", "init_from names none"),
    (config(model=ModelConfig(pruned=True)), "model.pruned", "init_from names none"),
    (
        config(prune=PruneConfig(ratio=0.5), init_from="latest", model=ModelConfig(freeze_backbone=True)),
        "prune.ratio",
        "contradict each other",
    ),
    (
        config(
            prune=PruneConfig(ratio=0.5, method="unstructured"),
            init_from="latest",
            trainer=TrainerConfig(strategy="deepspeed"),
        ),
        "prune.method",
        "needs whole layers",
    ),
]


@pytest.mark.parametrize("settings", FINE)
def test_what_works_together_passes(settings: object) -> None:
    check_contradictions(settings)


@pytest.mark.parametrize(("settings", "key", "words"), REFUSED)
def test_what_contradicts_is_refused_with_the_key_to_change(settings: object, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_contradictions(settings)
    assert caught.value.key == key
    assert words in str(caught.value)


def test_less_of_a_loss_or_an_error_is_better_and_more_of_a_score() -> None:
    assert {name: better_direction(f"val_{name}") for name in ("loss", "mae", "rmse", "accuracy", "f1", "r2")} == {
        "loss": "min",
        "mae": "min",
        "rmse": "min",
        "accuracy": "max",
        "f1": "max",
        "r2": "max",
    }
