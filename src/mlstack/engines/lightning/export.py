"""A torch network as ONNX, by torch's own exporter."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from mlstack.config import Config
from mlstack.engines.onnx_limits import OPSET, check_size, not_exportable
from mlstack.models.pytorch import Classifier

BATCH = 2  # of the example: torch.export takes a dimension of 1 for one that is always 1
OPERATION = re.compile(r"op='([\w.:]+)'")  # "No ONNX function found for <OpOverload(op='aten.bessel_j0', …)>"


class Core(nn.Module):
    """What of a classifier goes into the file: all but the normalisation, which is put before it afterwards."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """float [batch, channel, height, width], normalised → logits [batch, answer], features [batch, feature]."""
        features = self.classifier.encode(pixels)
        return self.classifier.answer(features), features


@torch.no_grad()
def write_onnx(classifier: Classifier, config: Config, path: Path) -> None:
    """Write a classifier on the CPU in 32 bits as ONNX. See `Engine.export_onnx`.

    Raises:
        ExportError: It is too large, or does what ONNX has no words for.
    """
    check_size(sum(tensor.numel() for tensor in classifier.state_dict().values()) * 4)
    data = config.data
    assert data.image_size and data.channels, "a run's settings are complete"
    pixels = torch.zeros(BATCH, data.channels, data.image_size, data.image_size)
    try:
        with _quiet():
            torch.onnx.export(
                Core(classifier).eval(),
                (pixels,),
                path,
                dynamo=True,
                opset_version=OPSET,
                input_names=["pixels"],
                output_names=["logits", "features"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
    except OnnxExporterError as error:
        raise not_exportable(config.model.target or config.model.name, _reason(error)) from error


def _reason(error: BaseException) -> str:
    """What the innermost of chained exceptions says: those around it give advice on torch's own code."""
    while error.__cause__ is not None:
        error = error.__cause__
    if operation := OPERATION.search(str(error)):
        return f"there is no ONNX for the operation {operation.group(1)}"
    return str(error).strip().splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress, warns of its own deprecations and logs what it tried."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        nowhere = StringIO()
        with redirect_stdout(nowhere), redirect_stderr(nowhere), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)
