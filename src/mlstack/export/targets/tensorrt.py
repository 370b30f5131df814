"""A TensorRT plan (model.plan) from the bundle's ONNX file: built on the very kind of GPU that will run it.

    pip install tensorrt==11.4.0.106        # an NVIDIA GPU and its driver are needed

NVIDIA's Polygraphy builds and runs it: the same calls for TensorRT 8 to 11. TensorRT 11 takes the precision from the
file, so a plan in half precision is made of a bundle with `quantize.mode=fp16`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.session import FEATURES, INPUT
from mlstack.errors import ExportError, HardwareError, MissingPackageError
from mlstack.export.targets.base import Converted, Model, Request, Runtime, ran
from mlstack.runs import RunFolder
from mlstack.utils.hardware import gpu_driver

PINS = {"tensorrt": "tensorrt==11.4.0.106", "polygraphy": "polygraphy==0.53.6"}
BATCHES = (1, 8, 32)  # least, what the plan is tuned for, greatest
PRECISIONS = ("fp32", "fp16")  # the bundle's int8 has unsigned activations, which TensorRT does not take


def check(run: RunFolder | None) -> None:
    """Refuse a machine without an NVIDIA GPU, and an environment without the packages. See `targets.check`."""
    if gpu_driver() is None:
        raise HardwareError(
            "target=tensorrt needs an NVIDIA GPU, and nvidia-smi finds none here: nothing was written or checked",
            hint="a plan fits one kind of GPU and one TensorRT: run this command on the machine that will serve it\n"
            "for a processor: target=openvino",
        )
    for package, pin in PINS.items():
        if find_spec(package) is None:
            raise MissingPackageError(pin, needed_for="target=tensorrt")


def convert(request: Request) -> Converted:
    """Write a plan for each ONNX file in 32 or 16 bits. See `targets.convert`."""
    import tensorrt
    from polygraphy.backend import trt
    from polygraphy.exception import PolygraphyException

    models: list[Model] = []
    for one in request.bundle.metadata.models:
        if one.precision in PRECISIONS:
            name = one.file.removesuffix(".onnx") + ".plan"
            try:
                network = trt.NetworkFromOnnxPath(str(request.bundle.path / one.file))
                config = trt.CreateConfig(profiles=[_profile(trt, request)])
                plan = trt.EngineBytesFromNetwork(network, config)()
                (request.folder / name).write_bytes(plan)
                with trt.TrtRunner(trt.EngineFromBytes((request.folder / name).read_bytes())) as runner:
                    runtime = _runtime(runner, request.bundle.metadata.output)
                    models.append(ran(runtime, request, file=name, like=one.precision, how="GPU"))
            except PolygraphyException as error:
                raise ExportError(f"TensorRT can't build {one.file}: {str(error).splitlines()[0]}") from error
    unchecked = ("other GPUs and other versions of TensorRT: a plan is for these alone",)
    return Converted(models=tuple(models), versions={"tensorrt": tensorrt.__version__}, unchecked=unchecked)


def _profile(trt: Any, request: Request) -> Any:
    """The numbers of pictures that a call may have."""
    metadata = request.bundle.metadata
    picture = (metadata.input.height, metadata.input.width, metadata.input.channels)
    least, tuned, most = (metadata.batch,) * 3 if metadata.batch else BATCHES
    return trt.Profile().add(INPUT, min=(least, *picture), opt=(tuned, *picture), max=(most, *picture))


def _runtime(runner: Any, output: str) -> Runtime:
    def answer(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        answers = runner.infer({INPUT: np.ascontiguousarray(images)})  # its buffers are used again
        return answers[output].astype(np.float32), answers[FEATURES].astype(np.float32)

    return answer
