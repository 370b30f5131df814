"""The parts in the order of what they are worth: whatever cuts a run short takes the last ones."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE = ("torch", "pytorch_lightning", "hydra", "omegaconf", "numpy", "PIL", "simplejpeg", "tqdm")
SHIPPED = (*ENGINE, "torchvision")
SCRIPTS = (*SHIPPED, "matplotlib", "sklearn", "onnx", "onnxscript", "onnxruntime")
SERVICE = (*SCRIPTS, "orjson", "httptools", "multipart", "prometheus_client", "uvloop")


@dataclass(frozen=True)
class Part:
    """What is measured in one process.

    Attributes:
        name: Of its file.
        what: In words.
        seconds: After which it is ended.
        needs: Modules without which it can't begin.
    """

    name: str
    what: str
    seconds: float
    needs: tuple[str, ...] = SHIPPED


PARTS = (
    Part("stage_one", "stage 1 as a user runs it: criteria and verdicts", 190, (*SCRIPTS, "tensorboard")),
    Part("input", "real against synthetic pictures, 32 and 224 pixels, the input's share of a step", 80),
    Part("precision", "fp32, tf32, bf16, 16, channels_last; peak memory, NVML", 75),
    Part("resume", "killed and gone on with, in 16 and bf16: bit for bit?", 60),
    Part("choices", "EMA, accumulation, checkpointing, fused optimizer, waits for the GPU", 60),
    Part("two_ranks", "two ranks against one: NCCL on two cards, gloo on one", 45, ENGINE),
    Part("runtime_cuda", "a bundle in ONNX Runtime's CUDA provider", 45, SCRIPTS),
    Part("service", "the HTTP service on the GPU", 45, SERVICE),
    Part("tensorrt_plan", "a TensorRT plan", 90, (*SCRIPTS, "tensorrt", "polygraphy")),
    Part("paddle_engine", "Paddle's GPU build", 60, (*ENGINE[2:], "paddle")),
    Part("compile", "torch.compile: gain, and what the first step costs", 100),
)
