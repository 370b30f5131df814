"""Predictions on one device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional

from mlstack.config import Config
from mlstack.engines.base import BatchSource, Predictions
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


@paddle.no_grad()
def predict(classifier: Classifier, config: Config, source: BatchSource) -> Predictions:
    """Outputs for every picture of a source, in its order, in the precision of the run."""
    set_device(config.trainer.accelerator)
    classifier.eval()
    activation = ACTIVATIONS[config.data.task]
    loader = GroupedLoader(source, config.data, steps=len(source))
    outputs, labels = [], []
    with closing(loader), autocast(config.trainer.precision):
        for group in loader:
            for images, truth in group:
                outputs.append(activation(classifier(images).astype("float32")).numpy())
                labels.append(truth.numpy())
    everything = np.concatenate(outputs)
    return Predictions(everything, np.concatenate(labels), np.arange(len(everything)))
