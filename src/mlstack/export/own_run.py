"""Run an ONNX graph that is not a bundle's yet, in memory, as its author would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.bundle.session import runtime_errors
from mlstack.errors import ExportError

FATAL = 4  # ONNX Runtime's log levels: 0 verbose to 4 fatal; what fails here is said by us
SAME = 1e-4  # relative to the largest answer: kernels for one picture and for three add up in another order


class GraphRun:
    """An ONNX graph in ONNX Runtime, one thread.

    Args:
        model: One input; read from memory, since its weights may have come from several files.
        path: What to call it in a message.

    Raises:
        ExportError: ONNX Runtime doesn't take it.
    """

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        self.path = path
        try:
            content = model.SerializeToString()
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except runtime_errors() as error:
            raise ExportError(f"onnx={path}: ONNX Runtime can't load it: {_line(error)}") from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """All outputs for pictures, float [batch, …] as the input wants them.

        Raises:
            ExportError: It fails on them.
        """
        try:
            outputs: list[NDArray[np.floating]] = self._session.run(None, {self._input: np.ascontiguousarray(pixels)})
        except runtime_errors() as error:
            raise ExportError(
                f"onnx={self.path}: ONNX Runtime can't run it on {pixels.dtype} {list(pixels.shape)}: {_line(error)}",
                hint="is image_size= what it takes?",
            ) from error
        return outputs


def answers_of(model: onnx.ModelProto, pixels: NDArray[np.floating], path: Path) -> list[NDArray[np.floating]]:
    """All outputs of a graph for pictures; errors as `GraphRun`'s."""
    return GraphRun(model, path)(pixels)


def runs_any_batch(
    model: onnx.ModelProto, reference: onnx.ModelProto, pixels: NDArray[np.float32], *, fixed: int, path: Path
) -> bool:
    """Whether a graph gives three pictures at once, and each alone, the answers that they have from another graph.

    Args:
        model: The graph with a dynamic batch.
        reference: The graph that is right, asked for `fixed` pictures a call.
        pixels: float32 [3, channel, height, width], three different pictures.
        fixed: Pictures a call of the reference.
        path: What to call it in a message.

    Raises:
        ExportError: The reference itself can't be run.
    """
    right_way = GraphRun(reference, path)
    right = [right_way(np.repeat(picture[None], fixed, axis=0)) for picture in pixels]
    try:
        tried = GraphRun(model, path)
        together, alone = tried(pixels), [tried(picture[None]) for picture in pixels]
    except ExportError:
        return False
    for output in range(len(together)):
        expected = np.concatenate([one[output][:1] for one in right])
        limit = SAME * max(float(np.abs(expected).max()), 1e-6)
        for given in (together[output], np.concatenate([one[output] for one in alone])):
            if given.shape != expected.shape or not np.allclose(given, expected, rtol=0, atol=limit):
                return False
    return True


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
