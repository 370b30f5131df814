"""config.pbtxt: how Triton serves one model file of a bundle, in protobuf's text format (`ModelConfig`).

What the fields mean: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from __future__ import annotations

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.session import FEATURES, INPUT

MODEL_FILE = "model.onnx"
LABELS_FILE = "labels.txt"
MAX_BATCH = 64  # images of a request and of a batch, as `serve.max_images` has it
PREFERRED = (8, 32)  # sizes at which a batch goes off at once
QUEUE_DELAY = 500  # microseconds that a free instance waits for a fuller batch
INSTANCES = 2
ON_THE_CPU = ("int8", "int8_dynamic")  # quantised for processors; a GPU calculates them slower than 32 bits
CPU = "KIND_CPU"
WHERE_IT_CAN = "KIND_AUTO"  # a GPU where Triton sees one, else the CPU


def model_name(metadata: Metadata, precision: str) -> str:
    """What Triton calls a file of the bundle: the default one as the bundle is called, so that clients need no other.

    Names of bundles keep to `NAME_RULE`, which a folder and an address of Triton can hold as they are.
    """
    return metadata.name if precision == metadata.default else f"{metadata.name}-{precision}"


def config_text(metadata: Metadata, precision: str) -> str:
    """The text of config.pbtxt.

    A bundle for any number of images gets Triton's dynamic batching. One with a fixed number takes exactly that many:
    `max_batch_size: 0` tells Triton that the first dimension is an ordinary one.

    Args:
        metadata: Of the bundle. Its names keep to `NAME_RULE`, so that none has to be quoted here.
        precision: Of the model file.
    """
    batch = () if metadata.batch is None else (metadata.batch,)
    picture = (*batch, metadata.input.height, metadata.input.width, metadata.input.channels)
    kind = CPU if precision in ON_THE_CPU else WHERE_IT_CAN
    parts = [
        f"# {metadata.name} {metadata.version}, {precision}; written by scripts/export.py target=triton",
        f'name: "{model_name(metadata, precision)}"',
        'backend: "onnxruntime"',
        f'default_model_filename: "{MODEL_FILE}"',
        f"max_batch_size: {0 if batch else MAX_BATCH}",
        _input(picture, nhwc=not batch),
        _output(metadata.output, (*batch, len(metadata.classes)), labels=has_labels(metadata)),
        _output(FEATURES, (*batch, metadata.features), labels=False),
        *([] if batch else [_batching()]),
        "# Each instance calculates on one thread: as many instances as processor cores use a machine fully.",
        f"instance_group [ {{ kind: {kind} count: {INSTANCES} }} ]",
        _parameter("intra_op_thread_count", "1"),
        _parameter("inter_op_thread_count", "1"),
        _parameter("bundle_version", metadata.version),
        "# Triton says that it is ready once each instance has answered these.",
        *(_warmup(size, picture) for size in ((1,) if batch else (1, PREFERRED[0]))),
    ]
    return "\n".join(parts) + "\n"


def has_labels(metadata: Metadata) -> bool:
    """Whether Triton can name classes: not those of a regression, nor where it counts them through several pictures."""
    return metadata.task != "regression" and metadata.batch in (None, 1)


def label_lines(metadata: Metadata) -> str:
    """A class name a line, in the order of the output's columns: each on one line, whatever it holds."""
    return "".join(" ".join(name.split()) + "\n" for name in metadata.classes)


def _input(picture: tuple[int, ...], *, nhwc: bool) -> str:
    # Triton wants exactly three dimensions beside FORMAT_NHWC.
    layout = "\n    format: FORMAT_NHWC" if nhwc else ""
    return f'input [\n  {{\n    name: "{INPUT}"\n    data_type: TYPE_UINT8{layout}\n    dims: {list(picture)}\n  }}\n]'


def _output(name: str, shape: tuple[int, ...], *, labels: bool) -> str:
    file = f'\n    label_filename: "{LABELS_FILE}"' if labels else ""
    return f'output [\n  {{\n    name: "{name}"\n    data_type: TYPE_FP32\n    dims: {list(shape)}{file}\n  }}\n]'


def _batching() -> str:
    return (
        f"dynamic_batching {{\n  preferred_batch_size: {list(PREFERRED)}\n"
        f"  max_queue_delay_microseconds: {QUEUE_DELAY}\n}}"
    )


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def _warmup(size: int, picture: tuple[int, ...]) -> str:
    data = f"data_type: TYPE_UINT8 dims: {list(picture)} zero_data: true"
    return (
        f'model_warmup [\n  {{\n    name: "black_{size}"\n    batch_size: {size}\n'
        f'    inputs {{ key: "{INPUT}" value {{ {data} }} }}\n  }}\n]'
    )
