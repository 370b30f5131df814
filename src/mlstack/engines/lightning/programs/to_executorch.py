"""Turn an exported program into an ExecuTorch file with the XNNPACK backend, and ask it about pictures.

    python to_executorch.py network.pt2 pictures.npy folder      # → folder/model.pte, answers.npz, report.json

It runs in an environment of its own and imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

network, pictures, folder = sys.argv[1], np.load(sys.argv[2]), Path(sys.argv[3])

program = to_edge_transform_and_lower(torch.export.load(network), partitioner=[XnnpackPartitioner()])
(folder / "model.pte").write_bytes(program.to_executorch().buffer)

method = Runtime.get().load_program(folder / "model.pte").load_method("forward")
outputs, features, seconds = [], [], []
for picture in pictures:
    one = torch.from_numpy(picture[None])
    start = time.perf_counter()
    answer = method.execute([one])
    seconds.append(time.perf_counter() - start)
    outputs.append(answer[0].numpy().copy())
    features.append(answer[1].numpy().copy())

np.savez(folder / "answers.npz", outputs=np.concatenate(outputs), features=np.concatenate(features))
versions = {name: version(name) for name in ("executorch", "torch", "torchao")}
report = {"versions": versions, "milliseconds": 1000 * float(np.median(seconds))}
(folder / "report.json").write_text(json.dumps(report))
