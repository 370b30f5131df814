"""Predictions with plain PyTorch on one device; Lightning is not needed for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor

from mlstack.config import Config
from mlstack.engines.base import BatchSource, Predictions
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


@torch.inference_mode()
def predict(classifier: Classifier, config: Config, source: BatchSource) -> Predictions:
    """Outputs for every picture of a source, in its order, in the precision of the run."""
    device = torch_device(config.trainer.accelerator)
    classifier.eval().to(device)
    precision = AUTOCAST.get(config.trainer.precision)
    activation = ACTIVATIONS[config.data.task]
    loader = GroupedLoader(source, config.data, steps=len(source), pin_memory=device.type == "cuda")
    outputs, labels = [], []
    with closing(loader), torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        for group in loader:
            for images, truth in group:
                answers = classifier(images.to(device, non_blocking=True))
                outputs.append(activation(answers.float()).cpu())
                labels.append(truth)
    all_outputs = torch.cat(outputs).numpy()
    return Predictions(all_outputs, torch.cat(labels).numpy(), torch.arange(len(all_outputs)).numpy())
