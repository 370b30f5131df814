"""Predictions with plain PyTorch on one device; Lightning is not needed for them."""

from __future__ import annotations

import torch

from mlstack.config import Config
from mlstack.engines.base import BatchSource, Predictions
from mlstack.engines.lightning.devices import torch_device
from mlstack.engines.lightning.loaders import GroupedLoader
from mlstack.models.pytorch import Classifier

AUTOCAST = {"bf16": torch.bfloat16, "16": torch.float16}


@torch.inference_mode()
def predict(classifier: Classifier, config: Config, source: BatchSource) -> Predictions:
    """Probabilities for every picture of a source, in its order, in the precision of the run."""
    device = torch_device(config.trainer.accelerator)
    classifier.eval().to(device)
    precision = AUTOCAST.get(config.trainer.precision)
    loader = GroupedLoader(source, config.data, steps=len(source), pin_memory=device.type == "cuda")
    probabilities, labels = [], []
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        for group in loader:
            for images, truth in group:
                logits = classifier(images.to(device, non_blocking=True))
                probabilities.append(logits.float().softmax(dim=1).cpu())
                labels.append(truth)
    answers = torch.cat(probabilities).numpy()
    return Predictions(answers, torch.cat(labels).numpy(), torch.arange(len(answers)).numpy())
