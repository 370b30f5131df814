"""OpenVINO IR (.xml and .bin) from the bundle's ONNX files, for Intel's processors and graphics.

pip install --no-deps openvino==2026.4.1
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.session import FEATURES
from mlstack.errors import ExportError, MissingPackageError
from mlstack.export.targets.base import Converted, Model, Request, Runtime, ran
from mlstack.runs import RunFolder

PIN = "openvino==2026.4.1"
ONE_THREAD = {"INFERENCE_NUM_THREADS": 1}
# Left to itself OpenVINO calculates in bf16 on a processor that has it, which is 1e-2 away.
EXACT = {"INFERENCE_PRECISION_HINT": "f32", **ONE_THREAD}


def check(run: RunFolder | None) -> None:
    """Refuse to go on without the package. See `targets.check`."""
    _openvino()


def convert(request: Request) -> Converted:
    """Write an .xml for each ONNX file but fp16's: half precision is chosen when a file is loaded."""
    openvino = _openvino()
    models: list[Model] = []
    for one in request.bundle.metadata.models:
        if one.precision != "fp16":
            name = one.file.removesuffix(".onnx") + ".xml"
            try:
                converted = openvino.convert_model(str(request.bundle.path / one.file))
            except Exception as error:  # its exceptions have no base but this one
                raise ExportError(f"OpenVINO can't convert {one.file}: {str(error).splitlines()[0]}") from error
            openvino.save_model(converted, str(request.folder / name), compress_to_fp16=False)
            models += _run(request, name, one.precision)
    unchecked = ("graphics and neural processors: only the CPU was asked",)
    return Converted(models=tuple(models), versions={"openvino": openvino.__version__}, unchecked=unchecked)


def _run(request: Request, name: str, precision: str) -> list[Model]:
    """What a written file answers in 32 bits, and in the precision that OpenVINO chooses itself."""
    path, output = str(request.folder / name), request.bundle.metadata.output
    core = shared_core()
    exact = _runtime(core.compile_model(path, "CPU", EXACT), output)
    free = core.compile_model(path, "CPU", ONE_THREAD)
    chosen = free.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    models = [ran(exact, request, file=name, like=precision, how="f32")]
    if chosen != "f32":
        how = f"{chosen}, its own choice"
        models.append(ran(_runtime(free, output), request, file=name, like=precision, how=how, binding=False))
    return models


@cache
def shared_core() -> Any:
    """OpenVINO's core: one for the whole process, kept to its end.

    Each core (2026.4.1) gives the thread a signal stack of its own and puts the one before back when it goes. Of two
    that overlap, the first to go frees a stack that the second puts back: the next signal would end the process.
    """
    return _openvino().Core()


def _runtime(compiled: Any, output: str) -> Runtime:
    def answer(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        answers = compiled(np.ascontiguousarray(images))
        return answers[output].copy(), answers[FEATURES].copy()

    return answer


def _openvino() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingPackageError(PIN, needed_for="target=openvino") from error
    return openvino
