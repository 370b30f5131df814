"""Predictions with plain PyTorch on one device; Lightning is not needed for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlstack.config import Config
from mlstack.datasets.base import Labels
from mlstack.engines.base import Answers, BatchSource, Predictions
from mlstack.engines.lightning.devices import torch_device
from mlstack.engines.lightning.loaders import GroupedLoader
from mlstack.models.pytorch import Classifier

AUTOCAST = {"bf16": torch.bfloat16, "16": torch.float16}

# From the network's answer (float32 [batch, answer]) to `Predictions.outputs`, by `data.task`.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "classification": lambda logits: logits.softmax(dim=1),
    "multilabel": torch.sigmoid,
    "regression": lambda values: values,  # the network answers in the targets' own units
}


def predict(classifier: Classifier, config: Config, source: BatchSource) -> Predictions:
    """Outputs for every picture of a source, in its order, in the precision of the run."""
    activation = ACTIVATIONS[config.data.task]

    def ask(images: Tensor) -> tuple[Tensor]:
        return (activation(classifier(images).float()),)

    (outputs,), labels = _ask(classifier, config, source, ask)
    return Predictions(outputs, labels, np.arange(len(outputs)))


def answers(classifier: Classifier, config: Config, source: BatchSource) -> Answers:
    """Logits and features for every picture of a source, in its order, in the precision of the run."""

    def ask(images: Tensor) -> tuple[Tensor, Tensor]:
        features = classifier.features(images)
        return classifier.answer(features).float(), features.float()

    (logits, features), labels = _ask(classifier, config, source, ask)
    return Answers(logits, features, labels)


@torch.inference_mode()
def _ask(
    classifier: Classifier, config: Config, source: BatchSource, ask: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[list[NDArray[np.float32]], Labels]:
    """What `ask` returns for every batch of a source, each of its tensors joined; and the labels."""
    device = torch_device(config.trainer.accelerator)
    classifier.eval().to(device)
    precision = AUTOCAST.get(config.trainer.precision)
    loader = GroupedLoader(source, config.data, steps=len(source), pin_memory=device.type == "cuda")
    said, labels = [], []
    with closing(loader), torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        for group in loader:
            for images, truth in group:
                said.append([tensor.cpu() for tensor in ask(images.to(device, non_blocking=True))])
                labels.append(truth)
    return [torch.cat(tensors).numpy() for tensors in zip(*said, strict=True)], torch.cat(labels).numpy()
