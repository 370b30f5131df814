"""README.md of a model repository: how Triton is started on it, and how it is asked."""

from __future__ import annotations

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.session import FEATURES, INPUT
from mlstack.export.card_text import bullets, code, markdown_table, plain
from mlstack.export.targets.triton_config import MAX_BATCH, has_labels, model_name

# Its ONNX Runtime is 1.19.2, its CUDA 12.6.2, and the server is the very release that the tests start.
IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"
START = f"""\
docker run --rm -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 \\
    -v "$PWD:/models:ro" {IMAGE} tritonserver --model-repository=/models"""


def readme(metadata: Metadata) -> str:
    """The text, for a bundle with these metadata."""
    rows = [
        [f"`{model_name(metadata, one.precision)}`", one.precision, f"{one.bytes / 1e6:.2f} MB"]
        for one in metadata.models
    ]
    picture = f"{metadata.input.height}, {metadata.input.width}, {metadata.input.channels}"
    count = "any up to " + str(MAX_BATCH) if metadata.batch is None else f"exactly {metadata.batch}"
    parts = [
        f"# {plain(metadata.name)} {plain(metadata.version)} for Triton Inference Server",
        markdown_table(["model", "precision", "size"], rows),
        bullets(
            f"takes `{INPUT}`: UINT8 [n, {picture}], {_channels(metadata)}, 0 to 255; n is {count}",
            f"answers `{metadata.output}`: FP32 [n, {len(metadata.classes)}], and `{FEATURES}`: "
            f"FP32 [n, {metadata.features}]",
            _labels(metadata),
        ),
        "In this folder, on a processor; with NVIDIA's container toolkit and `--gpus all` after `--rm` on a GPU:",
        code(START, "bash"),
        "Ask it (8000 is HTTP, 8001 gRPC, 8002 Prometheus metrics):",
        code(_request(metadata), "bash"),
        "`instance_group` in config.pbtxt says how many batches run at once; on a processor make `count` the number "
        "of its cores. Triton's queue has no end and it asks nobody for a key: put it behind something that limits "
        "both. Which files were checked, and what was not: facts.json.",
    ]
    return "\n\n".join(parts) + "\n"


def _channels(metadata: Metadata) -> str:
    return "grey" if metadata.input.channels == 1 else "red, green, blue"


def _labels(metadata: Metadata) -> str:
    if metadata.task == "regression":
        return f"the {len(metadata.classes)} columns are: {', '.join(plain(name) for name in metadata.classes)}"
    if not has_labels(metadata):
        return "classes are not named in answers: Triton would count them through all pictures of a call"
    return (
        'with `"parameters": {"classification": k}` beside an output\'s name the k likeliest come as `value:index:name`'
    )


def _request(metadata: Metadata) -> str:
    """A curl command that asks about black pictures, and needs nothing but curl and Python's own library."""
    many, side = metadata.batch or 1, metadata.input
    size = many * side.height * side.width * side.channels
    return (
        f'python3 -c \'import json; print(json.dumps({{"inputs": [{{"name": "{INPUT}", "datatype": "UINT8", '
        f'"shape": {[many, side.height, side.width, side.channels]}, "data": [0] * {size}}}]}}))\' \\\n'
        f"    | curl -d @- http://127.0.0.1:8000/v2/models/{metadata.name}/infer"
    )
