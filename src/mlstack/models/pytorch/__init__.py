"""PyTorch networks: `build_classifier` makes one from the settings."""

from mlstack.models.pytorch.build import build_classifier
from mlstack.models.pytorch.classifier import Classifier

__all__ = ["Classifier", "build_classifier"]
