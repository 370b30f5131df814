"""Turn an exported program into a LiteRT (TensorFlow Lite) file, and ask it about pictures.

    python to_litert.py network.pt2 pictures.npy folder          # → folder/model.tflite, answers.npz, report.json

It runs in an environment of its own and imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

network, pictures, folder = sys.argv[1], np.load(sys.argv[2]), Path(sys.argv[3])


class Named(torch.nn.Module):
    """Gives the outputs the names that they have in a bundle."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.export.load(network).module()
        self.training = False  # eval() would ask the loaded program, which refuses

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        output, features = self.network(images)
        return {"output": output, "features": features}


model = litert_torch.convert(Named(), sample_kwargs={"images": torch.from_numpy(pictures[:1])})
model.export(str(folder / "model.tflite"))

ask = Interpreter(str(folder / "model.tflite"), num_threads=1).get_signature_runner()
outputs, features, seconds = [], [], []
for picture in pictures:
    start = time.perf_counter()
    answer = ask(images=picture[None])
    seconds.append(time.perf_counter() - start)
    outputs.append(answer["output"])
    features.append(answer["features"])

np.savez(folder / "answers.npz", outputs=np.concatenate(outputs), features=np.concatenate(features))
versions = {name: version(name) for name in ("litert-torch", "ai-edge-litert", "torch", "jax")}
report = {"versions": versions, "milliseconds": 1000 * float(np.median(seconds))}
(folder / "report.json").write_text(json.dumps(report))
