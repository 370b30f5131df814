"""The schemas of the commands between a run and a server: export, verify, benchmark, optimize for edge."""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config.commands import CHECKPOINTS
from mlstack.config.keys import MISSING, group, key
from mlstack.config.trainer import ACCELERATORS

QUANTIZE_MODES = ("none", "int8", "dynamic", "fp16")
CALIBRATION_METHODS = ("minmax", "entropy", "percentile")
TARGETS = ("onnx", "openvino", "torchscript", "tensorrt", "coreml", "executorch", "litert", "triton")
COLOR_ORDERS = ("rgb", "bgr")
ANSWERS = ("logits", "probabilities")
RESIZE_RULES = ("crop", "stretch", "pad")


@dataclass
class QuantizeConfig:
    """A smaller model file beside the one in 32 bits."""

    mode: str = key(
        "none",
        "int8 = calibrated, for convolutions; dynamic = int8 for linear layers only; fp16 = half, for GPUs",
        choices=QUANTIZE_MODES,
    )
    max_drop: float = key(
        0.5, "Greatest loss of accuracy on val; layers stay in 32 bits until it is kept", unit="points", minimum=0
    )
    images: int = key(256, "Training images that int8 is calibrated on", unit="images", minimum=1)
    method: str = key("minmax", "How ranges of activations are found", choices=CALIBRATION_METHODS)
    seed: int = key(0, "Seed that draws the calibration images", minimum=0)


@dataclass
class ExportConfig:
    """Turn a run, or an ONNX file of your own, into a checked bundle."""

    run: str = key("latest", "Run folder; latest = the newest finished run", path=True)
    checkpoint: str = key("best", "Which weights: best by trainer.monitor, or the last ones", choices=CHECKPOINTS)
    output: str | None = key(None, "Bundle folder; null = bundle/ in the run folder", path=True)
    output_dir: str = key("outputs", "Folder in which latest is looked for", path=True)
    name: str | None = key(None, "Name of the model in a service; null = <data>_<model>")
    version: str | None = key(None, "Its version; null = the name of the run folder")
    target: str = key("onnx", "What to write; most need a package of their own", choices=TARGETS)
    quantize: QuantizeConfig = group(QuantizeConfig)
    calibrate: bool = key(True, "Fit a temperature on val, so that 80 % sure means right 8 times in 10")
    parity_images: int = key(1000, "Images of val on which the bundle has to answer as the network does", minimum=1)
    max_error: float = key(1e-3, "Greatest difference from the network's answers, relative to the largest", above=0)
    accelerator: str = key(
        "cpu", "Device of the network that is compared with; GPUs compute in fewer bits", choices=ACCELERATORS
    )
    onnx: str | None = key(None, "An ONNX classifier of your own to wrap, instead of a run", path=True)
    images: list[str] = key(
        [], "With onnx=: pictures to check and calibrate on: a file, a folder, a pattern, or a list", path=True
    )
    classes: str | None = key(None, "With onnx=: text file with a class name a line; null = class_0, …", path=True)
    mean: list[float] = key([0.485, 0.456, 0.406], "With onnx=: mean of each channel, 0 to 1")
    std: list[float] = key([0.229, 0.224, 0.225], "With onnx=: standard deviation of each channel, 0 to 1")
    color: str = key("rgb", "With onnx=: order of its channels", choices=COLOR_ORDERS)
    answers: str = key("logits", "With onnx=: what it answers", choices=ANSWERS)
    image_size: int | None = key(None, "With onnx=: height and width; null = as the file says", minimum=1)
    resize: str = key("crop", "With onnx=: how a picture of another shape becomes a square", choices=RESIZE_RULES)


@dataclass
class VerifyBundleConfig:
    """Check that a bundle is whole, of a known schema, and answers."""

    bundle: str = key("latest", "Bundle folder; latest = that of the newest finished run that has one", path=True)
    output_dir: str = key("outputs", "Folder in which latest is looked for", path=True)


@dataclass
class BenchmarkConfig:
    """Measure bundles against each other: accuracy, size, latency, throughput, memory."""

    bundle: list[str] = key(["latest"], "Bundle folders; each model file in them is measured", path=True)
    batch_sizes: list[int] = key([1, 8, 32], "Images a call", minimum=1)
    threads: list[int] = key([1], "Threads of the runtime", minimum=1)
    seconds: float = key(2.0, "Time for each combination", unit="seconds", above=0)
    split: str = key("test", "Split that accuracy is measured on, where its data are here", choices=("val", "test"))
    max_images: int | None = key(None, "Pictures of it; null = all", minimum=1)
    max_latency_ms: float | None = key(None, "Fail when p95 of batch 1 is slower", unit="milliseconds", above=0)
    min_images_per_s: float | None = key(None, "Fail when the best throughput is lower", unit="images/s", above=0)
    min_accuracy: float | None = key(None, "Fail below this accuracy", minimum=0, maximum=1)
    max_memory_mb: float | None = key(None, "Fail when the process needs more", unit="MiB", above=0)
    output: str = key("benchmark.png", "Figure: size against latency (.png); tables beside it (.csv, .json)", path=True)
    output_dir: str = key("outputs", "Folder in which latest is looked for", path=True)


@dataclass
class EdgeQuantizeConfig(QuantizeConfig):
    """The same for a small device, which may choose for itself."""

    mode: str = key(
        "device",
        "device = what the device computes fast, where it can be made; int8, dynamic, fp16, none",
        choices=("device", *QUANTIZE_MODES),
    )


@dataclass
class EdgeConfig:
    """Make a bundle fit a small device that is named in configs/device/."""

    target: str = key(MISSING, "Device: a file of configs/device/, such as jetson-nano, or a .yaml of your own")
    bundle: str = key("latest", "Bundle folder; latest = that of the newest finished run that has one", path=True)
    output: str | None = key(None, "Folder to write; null = edge/<device> beside the bundle", path=True)
    output_dir: str = key("outputs", "Folder in which latest is looked for", path=True)
    quantize: EdgeQuantizeConfig = group(EdgeQuantizeConfig)
    input_size: str | None = key(None, "Height and width of the pictures, such as 320x320; null = as the bundle has it")
    batch_size: int = key(1, "Images a call; fixed in what is written", minimum=1)
    max_images: int | None = key(1000, "Pictures of val and of test to measure accuracy on; null = all", minimum=1)
    images: list[str] = key(
        [], "Pictures to calibrate on, where the bundle's data are not here: a folder, a pattern, …", path=True
    )
