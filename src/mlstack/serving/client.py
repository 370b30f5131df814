"""A client of the service in one file, on Python's standard library alone: copy it into your own project.

    from mlstack.serving.client import Client, ClientError

    with Client("http://127.0.0.1:8000", key="…") as client:
        answer = client.predict("cat.jpg")                  # or bytes of a file, or a uint8 array; or a list of them
        answer[0]["class"], answer[0]["confidence"]         # ('cat', 0.97)
        client.feedback(answer.request_id, ["cat"])         # what was right

    python -m mlstack.serving.client http://127.0.0.1:8000 cat.jpg dog.jpg

A service that is full (429), not ready (503) or gone for a moment is asked again, no sooner than it wishes by
Retry-After. Threads may share a client. Proxies of the environment are not asked.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import socket
import ssl
import sys
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

KEY_VARIABLE = "MLSTACK_API_KEY"  # of the environment, so that no key stands in a command line
AGAIN = (429, 503)
FIRST_PAUSE = 0.1  # seconds before the second try where the service names none; doubled each time
LONGEST_PAUSE = 30.0  # seconds; a service that wants more is not waited for

Body = tuple[str, bytes]  # content type, and the bytes
Headers = Mapping[str, str]
Answer = tuple[int, http.client.HTTPMessage, bytes]


class ClientError(Exception):
    """A request without an answer.

    Attributes:
        status: Of HTTP; None where there was no answer at all.
        detail: One line: what the service says, or why it was not reached.
        request_id: Finds the request in the service's logs.
    """

    def __init__(self, detail: str, *, status: int | None = None, request_id: str = "") -> None:
        super().__init__(detail if status is None else f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.request_id = request_id


class Predictions(list[dict[str, Any]]):
    """One object a picture, in their order, and who answered how fast; `feedback` asks for the `request_id`.

    A prediction has `class`, `confidence` and `probabilities`; or `labels` and `probabilities`; or `values`.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer["predictions"])
        self.request_id: str = answer.get("request_id", "")
        self.model: str = answer.get("model", "")
        self.version: str = answer.get("version", "")
        self.timing_ms: dict[str, float] = answer.get("timing_ms", {})


class Client:
    """A service.

    Args:
        url: Such as http://127.0.0.1:8000.
        key: API key, where the service wants one.
        timeout: Seconds to wait for a connection, and for an answer.
        retries: Further tries after the first one.

    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 10.0, retries: int = 3) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no address such as http://127.0.0.1:8000")
        self.url, self.timeout, self.retries = url.rstrip("/"), timeout, retries
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._headers = {"accept": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        self._idle: deque[http.client.HTTPConnection] = deque()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that wait; a later request opens a new one."""
        while self._idle:
            self._idle.pop().close()

    def predict(
        self, images: Any, *, model: str | None = None, top_k: int | None = None, user: str | None = None
    ) -> Predictions:
        """Ask about pictures, all in one request.

        Args:
            images: A path, the bytes of a JPEG or PNG file, or a uint8 array [height, width, channel] or
                [n, height, width, channel] of the model's own size; or a list of one of these kinds.
            model: Its name; None = the service's default, or its experiment.
            top_k: Classes to tell of each picture.
            user: Who asks, so that an experiment gives the same user the same model.

        Raises:
            ClientError: There is no answer.
            ValueError, OSError: Something else than pictures, or a file that can't be read.
        """
        path = "/predict" if model is None else f"/v1/models/{quote(model, safe='')}/predict"
        query = "" if top_k is None else f"?{urlencode({'top_k': top_k})}"
        headers = {"x-deadline-ms": str(round(self.timeout * 1000)), **({"x-user-id": user} if user else {})}
        answer = self._json("POST", path + query, _body_of(images), headers)
        try:
            return Predictions(answer)
        except (KeyError, TypeError, AttributeError):
            raise ClientError(f"{self.url} answers without predictions: is it another service?") from None

    def feedback(self, request_id: str, labels: Sequence[Any]) -> Any:
        """Tell what was right: a label a picture, None where it is not known."""
        body = json.dumps({"request_id": request_id, "labels": list(labels)}).encode()
        self.close()  # a label must not count twice: on a new connection, and not repeated when that fails
        return self._json("POST", "/feedback", ("application/json", body), repeat=False)

    def models(self) -> Any:
        """What the service can be asked: `GET /models`."""
        return self._json("GET", "/models")

    def metadata(self) -> Any:
        """Of the default model: task, classes, input, version, …."""
        return self._json("GET", "/metadata")

    def ready(self) -> bool:
        """Whether it answers requests now. It is not asked twice."""
        try:
            return self._send("GET", "/ready", None, {"x-request-id": uuid.uuid4().hex})[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _json(
        self, method: str, path: str, body: Body | None = None, more: Headers | None = None, *, repeat: bool = True
    ) -> Any:
        """The answer's JSON, after as many tries as it takes: all of them alike, with one request id."""
        request_id = uuid.uuid4().hex
        headers = {"x-request-id": request_id, **(more or {})}
        left, pause = self.retries, FIRST_PAUSE
        while True:
            try:
                status, told, content = self._send(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                if left <= 0 or not (repeat and _passes(error)):
                    raise ClientError(f"{self.url}: {_reason(error, self.timeout)}", request_id=request_id) from error
            else:
                wished = _retry_after(told)
                if status not in AGAIN or left <= 0 or (wished or 0) > LONGEST_PAUSE:
                    return self._read(status, content, request_id)
                pause = pause if wished is None else wished
            time.sleep(pause * random.uniform(1.0, 1.25))  # clients must not come back all at once
            left, pause = left - 1, 2 * pause

    def _send(self, method: str, path: str, body: Body | None, headers: Headers) -> Answer:
        """One try: status, headers, body. A kept connection that the service closed meanwhile is replaced."""
        whole = {**self._headers, **headers, **({"content-type": body[0]} if body else {})}
        while True:
            connection, is_new = self._connection()
            try:
                connection.request(method, self._prefix + path, body[1] if body else None, whole)
                response = connection.getresponse()
                content = response.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
                if is_new:
                    raise
                continue
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            return response.status, response.headers, content

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection that nobody uses, and whether it is a new one."""
        try:
            return self._idle.pop(), False
        except IndexError:
            return self._connect(self._host, self._port, timeout=self.timeout), True

    def _read(self, status: int, content: bytes, request_id: str) -> Any:
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if 200 <= status < 300 and value is not None:
            return value
        if isinstance(value, dict) and "detail" in value:
            raise ClientError(str(value["detail"]), status=status, request_id=request_id)
        words = http.client.responses.get(status, "an unknown status")
        raise ClientError(f"{self.url} answers {words}, and not in JSON", status=status, request_id=request_id)


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} seconds"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _passes(error: Exception) -> bool:
    """Whether a failure may be over at the next try; a wrong name or certificate stays, a time-out is long enough."""
    return not isinstance(error, TimeoutError | socket.gaierror | ssl.SSLError | http.client.InvalidURL)


def _retry_after(headers: http.client.HTTPMessage) -> float | None:
    """Seconds that the service wants to be left alone; it may give a number or a date."""
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        wished = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
        return max(0.0, wished)
    except ValueError:
        return None


def _body_of(images: Any) -> Body:
    """Arrays as a `.npy`, which tells their shape; files as multipart."""
    many = list(images) if isinstance(images, list | tuple) else [images]
    if not many:
        raise ValueError("predict needs at least one picture")
    if all(hasattr(one, "shape") and hasattr(one, "tobytes") for one in many):
        return "application/x-npy", _npy(many)
    boundary = secrets.token_hex(16)
    kind = "content-type: application/octet-stream"
    parts = []
    for place, one in enumerate(many):
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{place}"\r\n{kind}\r\n\r\n'
        parts += [head.encode(), _file(one), b"\r\n"]
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _file(image: Any) -> bytes:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    raise ValueError(f"{type(image).__name__} is no picture: a path, bytes or uint8 arrays are, and only of one kind")


def _npy(arrays: Sequence[Any]) -> bytes:
    """uint8 arrays in one file of version 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html"""
    shapes = {tuple(one.shape) for one in arrays}
    kinds = {str(one.dtype) for one in arrays}
    if kinds != {"uint8"} or len(shapes) != 1:
        raise ValueError(f"arrays have to be uint8 and of one shape, not {', '.join(kinds)} of {sorted(shapes)}")
    (shape,) = shapes
    whole = shape if len(shape) == 4 and len(arrays) == 1 else (len(arrays), *shape)
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {whole}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    return b"".join([start, *(one.tobytes() for one in arrays)])


def _line(prediction: Mapping[str, Any], name: str) -> str:
    """One line of the table: how sure, what, and which file."""
    if "class" in prediction:
        return f"{prediction['confidence']:6.1%}  {prediction['class']}  {name}"
    values = [f"{target}={value:.5g}" for target, value in prediction.get("values", {}).items()]
    return f"{'|'.join(prediction.get('labels', values)) or '(none)'}  {name}"


def main() -> int:
    """Ask about files, and print a line for each."""
    if len(sys.argv) < 3:
        print(f"usage: [{KEY_VARIABLE}=…] python {sys.argv[0]} URL FILE…", file=sys.stderr)
        return 2
    try:
        with Client(sys.argv[1], os.environ.get(KEY_VARIABLE)) as client:
            for name in sys.argv[2:]:
                print(_line(client.predict(name)[0], name))
    except (ClientError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
