"""A stand-in for Triton's ONNX Runtime back end, which the package of the server does not bring along.

Copied to `backends/onnxruntime/model.py` it is run by Triton's Python back end for every model that asks for
`backend: "onnxruntime"`. It loads the same file with the same number of threads, by ONNX Runtime's Python package.
Whatever Triton itself does stays real: reading config.pbtxt, both protocols, batching, labels, warm-up, statistics.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

# The back end's interpreter looks at no PYTHONPATH and at no environment's packages.
sys.path[:0] = os.environ["STAND_IN_PACKAGES"].split(os.pathsep)

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, arguments: dict[str, str]) -> None:
        config = json.loads(arguments["model_config"])
        folder = Path(arguments["model_repository"]) / arguments["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(config["parameters"]["intra_op_thread_count"]["string_value"])
        self.session = onnxruntime.InferenceSession(
            str(folder / config["default_model_filename"]), options, providers=["CPUExecutionProvider"]
        )
        self.batches = config["max_batch_size"] > 0
        print(f"stand-in for the back end: ONNX Runtime {onnxruntime.__version__}", flush=True)
        [self.input] = [one["name"] for one in config["input"]]
        self.outputs = [one["name"] for one in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer what Triton put into one batch, in one call of the model."""
        images = [triton.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        if not self.batches:
            return [self._answer(self.session.run(self.outputs, {self.input: one})) for one in images]
        ends = np.cumsum([len(one) for one in images])[:-1]
        arrays = self.session.run(self.outputs, {self.input: np.concatenate(images)})
        parts = [np.split(array, ends) for array in arrays]
        return [self._answer(list(part)) for part in zip(*parts, strict=True)]

    def _answer(self, arrays: list[Any]) -> Any:
        tensors = [triton.Tensor(name, array) for name, array in zip(self.outputs, arrays, strict=True)]
        return triton.InferenceResponse(tensors)
