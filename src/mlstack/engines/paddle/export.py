"""A Paddle network as ONNX, by paddle2onnx."""

from __future__ import annotations

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401  # before anything else imports Paddle

import multiprocessing
import os
import resource
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import paddle
from paddle import Tensor, nn

from mlstack.config import Config
from mlstack.engines.onnx_limits import OPSET, check_size, not_exportable
from mlstack.errors import MissingPackageError
from mlstack.models.paddle import Classifier

STRUCTURE = ("builtin.", "pd_op.data", "pd_op.feed", "pd_op.fetch")  # inputs, weights and outputs


class Core(nn.Layer):
    """What of a classifier goes into the file: all but the normalisation, which is put before it afterwards."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """float [batch, channel, height, width], normalised → logits [batch, answer], features [batch, feature]."""
        features = self.classifier.encode(pixels)
        return self.classifier.answer(features), features


@paddle.no_grad()
def write_onnx(classifier: Classifier, config: Config, path: Path) -> None:
    """Write a classifier on the CPU in 32 bits as ONNX. See `Engine.export_onnx`.

    Raises:
        ExportError: It is too large, or does what ONNX has no words for.
        MissingPackageError: paddle2onnx is not installed.
    """
    check_size(sum(int(tensor.size) for tensor in classifier.state_dict().values()) * 4)
    network, data = config.model.target or config.model.name, config.data
    shape = [None, data.channels, data.image_size, data.image_size]
    core = Core(classifier)
    core.eval()
    with TemporaryDirectory(dir=path.parent, prefix=".paddle") as folder:
        program = Path(folder) / "core"
        try:
            with warnings.catch_warnings(action="ignore"):  # of a network without weights, and Paddle's of itself
                paddle.jit.save(core, str(program), input_spec=[paddle.static.InputSpec(shape, "float32", "pixels")])
        except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError) as error:
            raise not_exportable(network, str(error).strip().splitlines()[-1].strip()) from error
        if not _convert(program, path):
            raise not_exportable(network, f"there is no ONNX for the operation {_unknown(program)}")
    _name_outputs(path)


def _convert(program: Path, path: Path) -> bool:
    """Let paddle2onnx write the file, in a process of its own: it aborts where it meets what it does not know.

    `paddle2onnx.export` itself goes on to tools that change nothing here, or that install packages while they run.
    """
    try:
        from paddle2onnx import paddle2onnx_cpp2py_export as converter
    except ModuleNotFoundError as error:
        raise MissingPackageError("--no-deps paddle2onnx==2.1.0", needed_for="Paddle's networks as ONNX") from error

    def convert() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        weights = program.with_suffix(".pdiparams")
        content = converter.export(
            str(program.with_suffix(".json")),
            str(weights) if weights.exists() else "",
            OPSET,
            True,  # a higher opset where that one has no words
            False,  # verbose
            True,  # let the ONNX checker look at it
            True,  # experimental operations
            True,  # optimise
            {},  # operations of one's own
            "onnxruntime",
            "",  # no calibration file
            "",  # no file for the weights beside it
            False,  # no half precision
        )
        path.write_bytes(content)

    child = multiprocessing.get_context("fork").Process(target=convert)
    with warnings.catch_warnings(action="ignore"):  # of threads; the child only converts, in its own one
        child.start()
    child.join()
    return child.exitcode == 0


def _unknown(program: Path) -> str:
    """Names of the operations that the converter's list lacks; it spells some of its own way."""
    from paddle2onnx.utils import get_all_supported_operators_pir

    known = set(get_all_supported_operators_pir())

    def is_known(name: str) -> bool:
        return any(each == name or each.endswith(f"_{name}") or each.startswith(name) for each in known)

    used = {name.removeprefix("pd_op.").rstrip("_") for name in _operations(program)}
    return " or ".join(sorted(name for name in used if not is_known(name))) or "that paddle2onnx stops at"


def _operations(program: Path) -> Iterator[str]:
    loaded = paddle.jit.load(str(program)).program()
    names: list[str] = [operation.name() for operation in loaded.global_block().ops]
    return (name for name in names if not name.startswith(STRUCTURE))


def _name_outputs(path: Path) -> None:
    """Call the outputs what they are: the converter numbers them, and writes one where both are the same tensor."""
    import onnx

    model = onnx.load(path)
    outputs = list(model.graph.output)
    names = {output.name: name for output, name in zip(outputs, ("logits", "features"), strict=False)}
    for node in model.graph.node:
        for places in (node.input, node.output):
            for index, name in enumerate(places):
                places[index] = names.get(name, name)
    for output in outputs:
        output.name = names[output.name]
    if len(outputs) == 1:
        model.graph.node.append(onnx.helper.make_node("Identity", ["logits"], ["features"]))
        model.graph.output.add().CopyFrom(outputs[0])
        model.graph.output[1].name = "features"
    onnx.save(model, path)
