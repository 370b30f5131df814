"""A bundle's model for other runtimes: OpenVINO, TorchScript, TensorRT, Core ML, ExecuTorch, LiteRT, Triton.

`check` before anything expensive, `convert` once the bundle is there:

    check("openvino", run=run)
    lines = convert("openvino", bundle=bundle, run=run, images=val_images, config=config)   # to be said, in order

Each writes `targets/<target>/` beside the bundle, whole or not at all: the model file(s) and facts.json.
"""

from mlstack.export.targets.convert import check, convert

__all__ = ["check", "convert"]
