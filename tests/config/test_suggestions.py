from __future__ import annotations

import pytest

from mlstack.config import Config
from mlstack.config.suggestions import OTHER_WORDS, nearest, nearest_key
from mlstack.config.vocabulary import read_vocabulary

VOCABULARY = read_vocabulary(Config, "config")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trainer.max_epoch", "trainer.max_epochs"),
        ("trainer.batch_size", "data.batch_size"),
        ("trainer.plugins", "trainer.strategy"),
        ("trainer.gpus", "trainer.devices"),
        ("trainer.lr", "model.learning_rate"),
        ("model.lr", "model.learning_rate"),
        ("lr", "model.learning_rate"),
        ("epochs", "trainer.max_epochs"),
        ("batch_size", "data.batch_size"),
        ("gpus", "trainer.devices"),
        ("optimizer", "model.optimizer"),
        ("optimizer.lr", "model.learning_rate"),
        ("trainer.seed", "seed"),
        ("data.worker", "data.num_workers"),
        ("per_device_train_batch_size", "data.batch_size"),
        ("momentum", "model.optimizer_args.momentum"),
        ("trainer.profiler", "trainer.lightning.profiler"),
        ("trainer.detect_anomaly", "trainer.lightning.detect_anomaly"),
        ("data.agument.flip", "data.augment.flip"),
        ("Trainer.MaxEpochs", "trainer.max_epochs"),
    ],
)
def test_a_wrong_key_leads_to_the_right_one(typed: str, meant: str) -> None:
    assert nearest_key(typed, VOCABULARY) == meant


def test_nothing_near_gives_nothing() -> None:
    assert nearest_key("zzz.qqq", VOCABULARY) is None
    assert nearest("qqq", ["resnet18"]) is None


def test_every_word_of_the_table_leads_to_a_key_that_exists() -> None:
    lost = [key for key in OTHER_WORDS.values() if key not in VOCABULARY.keys and not VOCABULARY.is_open(key)]
    assert not lost
