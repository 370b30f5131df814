"""The same model with LitServe, batching as its documentation shows it; PORT, MODEL and WORKERS are variables."""

from __future__ import annotations

import io
import os
from typing import Any

import litserve as ls
import numpy as np
import onnxruntime
from PIL import Image


class Classifier(ls.LitAPI):
    """Rows as JSON, or a photograph as multipart."""

    def setup(self, device: str) -> None:
        """Load the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        _, self.height, self.width, self.channels = self.session.get_inputs()[0].shape

    def decode_request(self, request):  # noqa: ANN001, ANN201 - LitServe acts by annotations
        """One picture, uint8 [height, width, channel]."""
        if "inputs" in request:
            return np.array(request["inputs"][0], np.uint8)
        image = Image.open(io.BytesIO(request["file"].file.read())).convert("RGB" if self.channels == 3 else "L")
        pixels = np.asarray(image.resize((self.width, self.height)), np.uint8)
        return pixels.reshape(self.height, self.width, self.channels)

    def batch(self, inputs: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Pictures together."""
        return np.stack(inputs)

    def predict(self, x: np.ndarray[Any, Any]) -> Any:
        """Probabilities, float32 [n, class]."""
        return self.session.run(None, {"images": x if x.ndim == 4 else x[None]})[0]

    def unbatch(self, output: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Probabilities of each picture."""
        return list(output)

    def encode_response(self, output: np.ndarray[Any, Any]) -> dict[str, Any]:
        """The likeliest class, and the probabilities."""
        return {"class": int(output.argmax()), "probabilities": output.tolist()}


if __name__ == "__main__":
    api = Classifier(max_batch_size=16, batch_timeout=0.005)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]), timeout=60)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", generate_client_file=False)
