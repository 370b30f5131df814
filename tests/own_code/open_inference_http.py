"""A client of the open inference protocol over HTTP, of a few lines: it asks our own server and Triton alike."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray

Answers = dict[str, NDArray[Any]]


def infer(url: str, model: str, images: NDArray[np.uint8], *, binary: bool = True, classes: int = 0) -> Answers:
    """Ask a server of the open inference protocol over HTTP: ours or Triton.

    Args:
        url: Of the server.
        model: Its name there.
        images: uint8 [n, height, width, channel].
        binary: Tensors behind the JSON, both ways; False = in it.
        classes: More than 0 asks Triton's classification extension for so many instead of numbers.
    """
    tensor: dict[str, Any] = {"name": "images", "datatype": "UINT8", "shape": list(images.shape)}
    tensor |= {"parameters": {"binary_data_size": images.nbytes}} if binary else {"data": images.ravel().tolist()}
    request: dict[str, Any] = {"inputs": [tensor], "parameters": {"binary_data_output": binary}}
    if classes:
        request["outputs"] = [{"name": "probabilities", "parameters": {"classification": classes}}]
    head = json.dumps(request).encode()
    body = head + (images.tobytes() if binary else b"")
    headers = {"content-type": "application/octet-stream" if binary else "application/json"}
    if binary:
        headers["Inference-Header-Content-Length"] = str(len(head))
    with urlopen(Request(f"{url}/v2/models/{model}/infer", body, headers), timeout=30) as answer:
        length = int(answer.headers.get("Inference-Header-Content-Length") or 0)
        content = answer.read()
    outputs, rest = json.loads(content[:length] if length else content)["outputs"], content[length:]
    arrays: Answers = {}
    for one in outputs:
        if (size := one.get("parameters", {}).get("binary_data_size")) is not None:
            arrays[one["name"]] = np.frombuffer(rest[:size], "<f4").reshape(one["shape"])
            rest = rest[size:]
        else:
            arrays[one["name"]] = np.array(one["data"]).reshape(one["shape"])
    return arrays


def refusal(url: str, model: str, images: NDArray[np.uint8]) -> tuple[int, str]:
    """Status and message of a request that is refused."""
    try:
        infer(url, model, images)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]
    raise AssertionError(f"{model} answered, and should have refused {images.shape}")


def statistics(url: str, model: str) -> dict[str, Any]:
    with urlopen(f"{url}/v2/models/{model}/stats", timeout=30) as answer:
        [first] = json.load(answer)["model_stats"]
    return dict(first)
