"""What `tritonclient_check.py URL` asks a running service, in the environment of Triton's own HTTP client.

It prints a line for each check and ends with status 1 if one fails. The service's default model is asked.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """A PNG file of uint8 [height, width, 1 or 3], without a picture library."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


class Checks:
    """The checks, each with the same pictures.

    Args:
        url: Of the service.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        with urllib.request.urlopen(f"{url}/metadata") as answer:
            self.model: str = json.load(answer)["name"]
        self.client = triton.InferenceServerClient(url.partition("://")[2], concurrency=4)
        self.about = self.client.get_model_metadata(self.model)
        self.output = self.about["outputs"][0]["name"]
        _, *shape = self.about["inputs"][0]["shape"]
        self.images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
        self.expected = self.ask(binary=True)

    def ask(self, *, binary: bool, **arguments: Any) -> np.ndarray[Any, Any]:
        """float32 [3, answer] for the pictures."""
        tensor = triton.InferInput("images", list(self.images.shape), "UINT8")
        tensor.set_data_from_numpy(self.images, binary_data=binary)
        outputs = [triton.InferRequestedOutput(self.output, binary_data=binary)]
        result = self.client.infer(self.model, [tensor], outputs=outputs, **arguments)
        return result.as_numpy(self.output)

    def health(self) -> None:
        assert self.client.is_server_live()
        assert self.client.is_server_ready()
        assert self.client.is_model_ready(self.model)
        assert self.client.is_model_ready(self.model, self.about["versions"][0])

    def metadata(self) -> None:
        assert "binary_tensor_data" in self.client.get_server_metadata()["extensions"]
        assert self.about["name"] == self.model
        assert self.about["inputs"][0]["datatype"] == "UINT8"

    def json_tensors(self) -> None:
        np.testing.assert_allclose(self.ask(binary=False), self.expected, atol=1e-6)

    def a_version_and_an_id(self) -> None:
        tensor = triton.InferInput("images", list(self.images.shape), "UINT8")
        tensor.set_data_from_numpy(self.images)
        version = self.about["versions"][0]
        response = self.client.infer(self.model, [tensor], model_version=version, request_id="mine").get_response()
        assert (response["id"], response["model_version"]) == ("mine", version)

    def all_outputs(self) -> None:
        tensor = triton.InferInput("images", list(self.images.shape), "UINT8")
        tensor.set_data_from_numpy(self.images)
        result = self.client.infer(self.model, [tensor])
        np.testing.assert_allclose(result.as_numpy(self.output), self.expected, atol=1e-6)
        assert len(result.as_numpy("features")) == 3

    def mixed_outputs(self) -> None:
        tensor = triton.InferInput("images", list(self.images.shape), "UINT8")
        tensor.set_data_from_numpy(self.images, binary_data=False)
        wanted = [triton.InferRequestedOutput("features"), triton.InferRequestedOutput(self.output, binary_data=False)]
        result = self.client.infer(self.model, [tensor], outputs=wanted)
        np.testing.assert_allclose(result.as_numpy(self.output), self.expected, atol=1e-6)

    def encoded_files(self) -> None:
        files = np.array([png(image) for image in self.images], np.object_)
        tensor = triton.InferInput("images", [3], "BYTES")
        tensor.set_data_from_numpy(files)
        output = [triton.InferRequestedOutput(self.output)]
        told = self.client.infer(self.model, [tensor], outputs=output).as_numpy(self.output)
        np.testing.assert_allclose(told, self.expected, atol=1e-6)
        texts = np.array([base64.b64encode(one).decode() for one in files], np.object_)
        tensor.set_data_from_numpy(texts, binary_data=False)
        told = self.client.infer(self.model, [tensor], outputs=output).as_numpy(self.output)
        np.testing.assert_allclose(told, self.expected, atol=1e-6)

    def requests_in_parallel(self) -> None:
        tensor = triton.InferInput("images", list(self.images.shape), "UINT8")
        tensor.set_data_from_numpy(self.images)
        waiting = [self.client.async_infer(self.model, [tensor]) for _ in range(16)]
        for one in waiting:
            np.testing.assert_allclose(one.get_result().as_numpy(self.output), self.expected, atol=1e-6)

    def mistakes(self) -> None:
        tensor = triton.InferInput("images", [1, 2, 2, 1], "UINT8")
        tensor.set_data_from_numpy(np.zeros((1, 2, 2, 1), np.uint8))
        assert self._status_of(self.model, tensor) == "400"
        assert self._status_of("no-such-model", tensor) == "404"
        assert not self.client.is_model_ready("no-such-model")

    def _status_of(self, model: str, tensor: Any) -> str:
        """The status of a request that is refused, with a message."""
        try:
            self.client.infer(model, [tensor])
        except InferenceServerException as error:
            return str(error.status()) if error.message() else "no message"
        return "answered"


def main(url: str) -> int:
    """Run the checks; the number of those that failed."""
    checks = Checks(url.rstrip("/"))
    steps: list[Callable[[], None]] = [
        checks.health,
        checks.metadata,
        checks.json_tensors,
        checks.a_version_and_an_id,
        checks.all_outputs,
        checks.mixed_outputs,
        checks.encoded_files,
        checks.requests_in_parallel,
        checks.mistakes,
    ]
    failed = 0
    for step in steps:
        try:
            step()
        except (AssertionError, InferenceServerException) as error:
            failed += 1
            print(f"failed  {step.__name__}: {error}")
        else:
            print(f"ok      {step.__name__}")
    checks.client.close()
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
