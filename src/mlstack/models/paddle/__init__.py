"""Paddle networks: `build_classifier` makes one from the settings, `whiten` fits its first layer."""

from mlstack.models.paddle import quiet as quiet  # first of all: it imports paddle
from mlstack.models.paddle.build import build_classifier
from mlstack.models.paddle.classifier import Classifier
from mlstack.models.paddle.whitening import whiten

__all__ = ["Classifier", "build_classifier", "whiten"]
