"""Predictions on one device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor
from paddle.nn import functional

from mlstack.config import Config
from mlstack.datasets.base import Labels
from mlstack.engines.base import Answers, BatchSource, Predictions
from mlstack.engines.paddle.devices import set_device
from mlstack.engines.paddle.loaders import GroupedLoader
from mlstack.engines.paddle.precision import autocast
from mlstack.models.paddle import Classifier

# From the network's answer (float32 [batch, answer]) to `Predictions.outputs`, by `data.task`.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "classification": lambda logits: functional.softmax(logits, axis=1),
    "multilabel": functional.sigmoid,
    "regression": lambda values: values,  # the network answers in the targets' own units
}


def predict(classifier: Classifier, config: Config, source: BatchSource) -> Predictions:
    """Outputs for every picture of a source, in its order, in the precision of the run."""
    activation = ACTIVATIONS[config.data.task]

    def ask(images: Tensor) -> tuple[Tensor]:
        return (activation(classifier(images).astype("float32")),)

    (outputs,), labels = _ask(classifier, config, source, ask)
    return Predictions(outputs, labels, np.arange(len(outputs)))


def answers(classifier: Classifier, config: Config, source: BatchSource) -> Answers:
    """Logits and features for every picture of a source, in its order, in the precision of the run."""

    def ask(images: Tensor) -> tuple[Tensor, Tensor]:
        features = classifier.features(images)
        return classifier.answer(features).astype("float32"), features.astype("float32")

    (logits, features), labels = _ask(classifier, config, source, ask)
    return Answers(logits, features, labels)


@paddle.no_grad()
def _ask(
    classifier: Classifier, config: Config, source: BatchSource, ask: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[list[NDArray[np.float32]], Labels]:
    """What `ask` returns for every batch of a source, each of its tensors joined; and the labels."""
    set_device(config.trainer.accelerator)
    classifier.eval()
    loader = GroupedLoader(source, config.data, steps=len(source))
    said, labels = [], []
    with closing(loader), autocast(config.trainer.precision):
        for group in loader:
            for images, truth in group:
                said.append([tensor.numpy() for tensor in ask(images)])
                labels.append(truth.numpy())
    return [np.concatenate(arrays) for arrays in zip(*said, strict=True)], np.concatenate(labels)
