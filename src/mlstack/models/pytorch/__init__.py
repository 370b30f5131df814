"""PyTorch networks: `build_classifier` makes one from the settings, `whiten` fits its first layer."""

from mlstack.models.pytorch.build import build_classifier
from mlstack.models.pytorch.classifier import Classifier
from mlstack.models.pytorch.whitening import whiten

__all__ = ["Classifier", "build_classifier", "whiten"]
