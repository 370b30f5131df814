"""The same model with BentoML, batching as its documentation shows it: bentoml serve bentoml_app:Classifier."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime
from PIL.Image import Image


@bentoml.service(traffic={"timeout": 60, "max_concurrency": 1000}, logging={"access": {"enabled": False}})
class Classifier:
    """Rows as JSON, or a photograph as multipart."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        _, self.height, self.width, self.channels = self.session.get_inputs()[0].shape

    @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=60_000)
    def predict(self, inputs: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        """Rows."""
        probabilities: np.ndarray[Any, Any] = self.session.run(None, {"images": inputs.astype(np.uint8)})[0]
        return probabilities

    @bentoml.api
    def predict_image(self, file: Image) -> np.ndarray:  # type: ignore[type-arg]
        """A photograph."""
        image = file.convert("RGB" if self.channels == 3 else "L").resize((self.width, self.height))
        pixels = np.asarray(image, np.uint8).reshape(1, self.height, self.width, self.channels)
        probabilities: np.ndarray[Any, Any] = self.session.run(None, {"images": pixels})[0]
        return probabilities
