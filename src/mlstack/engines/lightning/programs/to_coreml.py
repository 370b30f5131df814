"""Turn an exported program with float input into a Core ML package, and read back what it takes and answers.

    python to_coreml.py network.pt2 pictures.npy folder          # → folder/model.mlpackage, report.json

Core ML predicts on macOS only. It runs in an environment of its own and imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import coremltools as ct
import torch

network, folder = sys.argv[1], Path(sys.argv[3])

model = ct.convert(
    torch.export.load(network).run_decompositions({}),
    convert_to="mlprogram",
    minimum_deployment_target=ct.target.iOS16,
    compute_precision=ct.precision.FLOAT32,
    outputs=[ct.TensorType(name="output"), ct.TensorType(name="features")],
)
model.save(str(folder / "model.mlpackage"))

described = ct.utils.load_spec(str(folder / "model.mlpackage")).description  # from the disk: what others will read
ends = {
    side: {one.name: list(one.type.multiArrayType.shape) for one in getattr(described, side)}
    for side in ("input", "output")
}
versions = {name: version(name) for name in ("coremltools", "torch")}
(folder / "report.json").write_text(json.dumps({"versions": versions, **ends}))
