"""For one seed every engine's network is given the same pictures and labels, in the same order."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.commands.train import complete
from mlstack.config.trainer import ENGINES
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.engines.meter import TrainingMeter
from mlstack.runs import RunFolder

from ..conftest import configuration

pytestmark = pytest.mark.framework

MODELS = {"lightning": "pytorch", "paddle": "paddle"}
AUGMENTED = {"data__augment__crop": 2, "data__augment__flip": 0.5, "data__augment__mixup": 0.4}
SETTINGS: dict[str, dict[str, Any]] = {
    "augmented and blended": AUGMENTED,
    "balanced": {"data__augment__crop": 1, "data__balance": True},
    "in groups, by workers": {
        **AUGMENTED,
        "data__num_workers": 2,
        "trainer__accumulate_grad_batches": 2,
        "trainer__steps_per_execution": 2,
    },
}


def seen(engine: str, folder: Path, settings: dict[str, Any], patch: pytest.MonkeyPatch) -> list[NDArray[Any]]:
    """What the network is given in training and validation, and the labels that its answers are compared with."""
    found: list[NDArray[Any]] = []
    create_engine(engine)
    classifier = import_module(f"mlstack.models.{MODELS[engine]}").Classifier
    normalize, add = classifier.normalize, TrainingMeter.add

    def normalized(self: Any, images: Any) -> Any:
        found.append(np.array(images.numpy()))
        return normalize(self, images)

    def added(self: Any, logits: Any, labels: Any, loss: Any, *, images: int) -> None:
        found.append(np.array(labels.numpy()))
        add(self, logits, labels, loss, images=images)

    config = configuration(folder, engine, seed=7, **settings)
    dataset = load_dataset(config.data)
    run = RunFolder(folder / engine)
    run.path.mkdir(parents=True)
    with patch.context() as patched:
        patched.setattr(classifier, "normalize", normalized)
        patched.setattr(TrainingMeter, "add", added)
        create_engine(engine).fit(complete(config, dataset), dataset, run)
    return [each for each in found if len(each) > 1]  # without the one picture that a new network is tried with


@pytest.mark.parametrize("name", SETTINGS)
def test_every_engine_sees_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = [seen(engine, tmp_path, SETTINGS[name], monkeypatch) for engine in ENGINES]
    assert len(first) > 2 * 2 * 6  # two epochs of six batches, with their labels, and what they are validated on
    for other in others:
        assert len(other) == len(first)
        pairs = zip(first, other, strict=True)
        assert all(np.array_equal(one, same) and one.dtype == same.dtype for one, same in pairs)
