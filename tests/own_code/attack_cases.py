"""What hostile, broken and careless clients send, each as the bytes of a connection and the manner of sending them."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from steady_client import post

HOST = b"Host: 127.0.0.1\r\n"
JSON, RAW, NPY, FORM = "application/json", "application/octet-stream", "application/x-npy", "multipart/form-data"
BOUNDARY = "a-boundary"
SIZE = 8  # of the tiny bundle's pictures, which have one channel
GOOD_ROWS = [[[0]] * SIZE] * SIZE
MANNERS = ("cut", "reset", "half-closed", "drip", "silent")  # of ending or delaying what is right so far


@dataclass(frozen=True)
class Attack:
    """One connection.

    Attributes:
        name: What it tries.
        data: Sent.
        manner: `whole`: an answer is owed. `cut`, `reset` and `half-closed`: the client ends after `data`; `drip`: it
            sends slowly; `silent`: it sends no more, and waits; `deaf`: it sends a lot and reads nothing.
        may_be_right: An answer of 200 is right too.
    """

    name: str
    data: bytes
    manner: str = "whole"
    may_be_right: bool = False


def attacks(*, bombs: bool = True) -> list[Attack]:
    """One of each kind; `bombs` = those too that cost the service, or this process, a lot of work."""
    found = [Attack(name, data) for name, data in _heads()]
    found += [Attack(f"JSON: {name}", post("/predict", body, JSON)) for name, body in _json_bodies()]
    found += [Attack(f"{kind}: {name}", post("/predict", body, kind)) for name, kind, body in _other_bodies()]
    found += [Attack(f"route: {name}", data) for name, data in _routes()]
    found += [Attack(f"v2: {name}", post("/v2/models/digits_tiny/infer", body, JSON)) for name, body in _infer_bodies()]
    if bombs:
        found += [Attack(f"bomb: {name}", data) for name, data in _bombs()]
        found.append(Attack("a picture at the limit", post("/predict", png(6300, 6300), "image/png"), "whole", True))
        found.append(Attack("deaf", post("/predict", bytes(SIZE * SIZE), RAW) * 200, "deaf"))
    return found


def interruptions(count: int, seed: int) -> Iterator[Attack]:
    """Good requests, and some that are not, ended or delayed at a random place."""
    random = np.random.default_rng(seed)
    good = [post("/predict", bytes(SIZE * SIZE), RAW), post("/predict", _dump({"inputs": [GOOD_ROWS]}), JSON)]
    good += [_chunked([b"x" * 10] * 6), post("/predict_image", form([png(40, 40)]), f"{FORM}; boundary={BOUNDARY}")]
    for number in range(count):
        request = good[random.integers(len(good))]
        manner = MANNERS[number % len(MANNERS)]
        yield Attack(f"{manner} in between", request[: random.integers(1, len(request))], manner)


def _heads() -> Iterator[tuple[str, bytes]]:
    length, chunks = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
    start = b"POST /predict HTTP/1.1\r\n" + HOST
    smuggled = b"0\r\n\r\nGET /admin/reload HTTP/1.1\r\n" + HOST + b"\r\n"
    yield "no HTTP", b"hello\r\n\r\n"
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2 + b"\r\n\r\n"
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "a version that is none", b"GET / HTTP/9.9\r\n" + HOST + b"\r\n"
    yield "an unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n"
    yield "bare line feeds", b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n\r\n\r\n"
    yield "NUL", b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n"
    yield "no host", b"GET / HTTP/1.1\r\n\r\n"
    yield "two hosts", b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n"
    yield "a header of 1 MB", b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 10**6 + b"\r\n\r\n"
    yield "10,000 headers", b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 10_000 + b"\r\n"
    yield "a folded header", b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n c\r\n\r\n"
    yield "an address of 100 kB", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    yield "1,000 parameters", b"GET /models?" + b"a=b&" * 1000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    yield "length, then chunks", start + length + chunks + b"\r\n" + smuggled
    yield "chunks, then length", start + chunks + length + b"\r\n" + smuggled
    yield "two lengths", start + length + b"Content-Length: 50\r\n\r\n" + smuggled
    yield "a list of lengths", start + b"Content-Length: 5, 5\r\n\r\n" + smuggled
    yield "a negative length", start + b"Content-Length: -5\r\n\r\n" + smuggled
    yield "a length of 2^64", start + b"Content-Length: 18446744073709551616\r\n\r\n" + smuggled
    yield "a length of 1 TB", start + b"Content-Length: 1099511627776\r\n\r\n" + smuggled
    yield "chunked twice", start + chunks * 2 + b"\r\n" + smuggled
    yield "nearly chunked", start + b"Transfer-Encoding: xchunked\r\n\r\n" + smuggled
    yield "a space before the colon", start + b"Transfer-Encoding : chunked\r\n\r\n" + smuggled
    yield "a wrong chunk", start + chunks + b"\r\nzz\r\n"
    yield "an endless chunk", start + chunks + b"\r\nfffffffffffffff\r\n"
    yield "a chunk longer than it says", start + chunks + b"\r\n3\r\nabcdef\r\n0\r\n\r\n"
    yield "an unknown expectation", start + length + b"Expect: tea\r\n\r\n12345"


def _json_bodies() -> Iterator[tuple[str, bytes]]:
    rows = _dump(GOOD_ROWS)
    for text in ("{", "}", "[]", "null", "7", '"text"', "{}", '{"inputs":', "{'inputs': 1}", '{"inputs": []}',
                 '{"inputs": null}', '{"inputs": {}}', '{"inputs": [[]]}', '{"inputs": [NaN]}', '{"images": []}',
                 '{"images": 7}', '{"images": [7]}', '{"images": [""]}', '{"images": ["%%%"]}', '{"images": ["AAAA"]}',
                 '{"images": [null]}', '{"other": 1}', '{"inputs": "AAAA", "images": "AAAA"}'):  # fmt: skip
        yield text, text.encode()
    for value in ("NaN", "Infinity", "-Infinity", "-1", "256", "3.5", "1e999", '"1"', "null", "true", "[]", "9" * 5000):
        yield f"a pixel of {value[:9]}", b'{"inputs": [' + rows.replace(b"[0]", f"[{value}]".encode(), 1) + b"]}"
    yield "a row too short", b'{"inputs": [' + rows.replace(b"[0],", b"", 1) + b"]}"
    yield "another shape", _dump({"inputs": [[[[0, 0, 0]] * 9] * 9]})
    yield "65 pictures", b'{"inputs": [' + b",".join([rows] * 65) + b"]}"
    yield "100,000 brackets", b'{"inputs": ' + b"[" * 100_000
    yield "100,000 pairs of brackets", b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "100,000 objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    yield "no UTF-8", b'{"inputs": "\xff\xfe"}'
    yield "UTF-16", '{"inputs": []}'.encode("utf-16")
    yield "half a surrogate", b'{"images": ["\\ud800"]}'
    yield "compressed", zlib.compress(rows)
    yield "a text of 1 MB", b'{"images": ["' + b"A" * 10**6 + b'"]}'


def _other_bodies() -> Iterator[tuple[str, str, bytes]]:
    yield "empty", RAW, b""
    yield "one byte too few", RAW, bytes(SIZE * SIZE - 1)
    yield "65 pictures", RAW, bytes(SIZE * SIZE * 65)
    for name, array in (
        ("NaN", np.full((1, SIZE, SIZE, 1), np.nan)), ("texts", np.full((1, SIZE, SIZE, 1), "a")),
        ("dates", np.zeros((1, SIZE, SIZE, 1), "datetime64[s]")), ("another shape", np.zeros((1, 9, 9, 3), np.uint8)),
        ("no pictures", np.zeros((0, SIZE, SIZE, 1), np.uint8)), ("no dimension", np.zeros((), np.uint8)),
    ):  # fmt: skip
        yield name, NPY, _npy(array)
    yield "objects", NPY, _npy(np.array([{"a": 1}], object))
    yield "a huge shape", NPY, _npy_head("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 8, 8, 1)}")
    yield "code", NPY, _npy_head("__import__('os').abort()")
    yield "brackets", NPY, _npy_head("(" * 5000)
    yield "no magic", NPY, b"NUMPY" * 20
    for name, content in (
        ("text", b"no picture"), ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), ("ZIP", b"PK\x03\x04" * 20),
        ("PDF", b"%PDF-1.7\n"), ("TIFF", b"II*\0" + bytes(60)), ("cut", png(40, 40)[:60]),
        ("wrong checksums", png(40, 40).replace(b"IDAT", b"IDAT\0", 1)), ("no pixels", png(0, 0)),
        ("JPEG, cut", b"\xff\xd8\xff\xe0" + bytes(20)), ("WebP, cut", b"RIFF\x10\0\0\0WEBPVP8 "),
    ):  # fmt: skip
        yield name, "image/png", content
        yield f"a form with {name}", f"{FORM}; boundary={BOUNDARY}", form([content])
    yield "no boundary", FORM, form([b"a"])
    yield "another boundary", f"{FORM}; boundary=other", form([b"a"])
    yield "a boundary of 1 kB", f"{FORM}; boundary={'b' * 1000}", form([b"a"])
    yield "no end", f"{FORM}; boundary={BOUNDARY}", form([b"a"])[:-10]
    yield "1,000 parts", f"{FORM}; boundary={BOUNDARY}", form([b"a"] * 1000)
    yield "another field", f"{FORM}; boundary={BOUNDARY}", form([b"a"], field="other")
    yield "a part's header of 100 kB", f"{FORM}; boundary={BOUNDARY}", form([b"a"], field="f" * 100_000)
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "a" * 1000, "/", "image/svg+xml",
                 "multipart/mixed; boundary=a-boundary", "application/pickle"):  # fmt: skip
        yield "as a content type", kind, bytes(SIZE * SIZE)


def _routes() -> Iterator[tuple[str, bytes]]:
    for path in ("/nothing", "/page/../../../etc/passwd", "/page/%2e%2e%2fpage.css", "/examples/999999.png",
                 "/examples/-1.png", "/examples/../x.png", "/v2/models/none",
                 "/v2/models/digits_tiny/versions/9"):  # fmt: skip
        yield path, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    raw = bytes(SIZE * SIZE)
    for path in ("/v1/models/none/predict", "/v1/models/..%2f..%2fx/predict", "/predict?top_k=-1", "/predict?top_k=a",
                 "/predict?top_k=" + "9" * 5000, "/metrics", "/health"):  # fmt: skip
        yield path[:40], post(path, raw, RAW)
    for line in ("x-deadline-ms: soon", "x-deadline-ms: nan", "x-deadline-ms: -1"):
        yield line, post("/predict", raw, RAW, line)
    for path in ("/feedback", "/admin/canary"):
        for text in ("", "{", "null", "[]", '{"request_id": 7}', '{"action": []}', "[" * 100_000,
                     '{"request_id": "none", "label": "a"}', '{"action": "share", "percent": NaN}'):  # fmt: skip
            yield f"{path} {text[:30]}", post(path, text.encode(), JSON)


def _infer_bodies() -> Iterator[tuple[str, bytes]]:
    right: dict[str, Any] = {"name": "images", "datatype": "UINT8", "shape": [1, SIZE, SIZE, 1], "data": [0] * SIZE**2}
    for name, change in (
        ("a huge shape", {"shape": [10**12, SIZE, SIZE, 1]}), ("a negative shape", {"shape": [-1, SIZE, SIZE, 1]}),
        ("no shape", {"shape": None}), ("NaN", {"datatype": "FP32", "data": [float("nan")] * SIZE**2}),
        ("too few", {"data": [0]}), ("no data", {"data": None}), ("an unknown type", {"datatype": "FP8"}),
        ("texts", {"datatype": "BYTES", "data": ["a"]}), ("another name", {"name": "other"}),
        ("binary data that is not there", {"parameters": {"binary_data_size": 10**9}}),
    ):  # fmt: skip
        yield name, _dump({"inputs": [right | change]})
    for text in ("{}", "[]", '{"inputs": []}', '{"inputs": [7]}', '{"inputs": null}', "[" * 100_000):
        yield text[:20], text.encode()


def _bombs() -> Iterator[tuple[str, bytes]]:
    bomb = png(13_000, 13_000)
    yield "PNG", post("/predict", bomb, "image/png")
    yield "PNG in a form", post("/predict_image", form([bomb, bomb]), f"{FORM}; boundary={BOUNDARY}")
    yield "PNG in base64", post("/predict", _dump({"images": [base64.b64encode(bomb).decode()]}), JSON)
    yield "PNG of 2^31", post("/predict", png(2**31 - 1, 2**31 - 1, lines=0), "image/png")
    yield (
        "GIF of 65,535",
        post("/predict", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;", "image/gif"),
    )
    large = bytes(17 * 10**6)
    yield "17 MB", post("/predict", large, RAW)
    yield "17 MB in chunks", _chunked([large[:500_000]] * 34)


def png(width: int, height: int, lines: int | None = None) -> bytes:
    """A grey PNG; `lines` of them really there, or all."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    line, packer = bytes(width + 1) if lines != 0 else b"", zlib.compressobj(1)
    pixels = b"".join(packer.compress(line) for _ in range(height if lines is None else lines)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def form(contents: list[bytes], field: str = "file") -> bytes:
    """A multipart body with the boundary BOUNDARY."""
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{field}"; filename="a.png"\r\n\r\n'.encode()
    return b"".join(head + one + b"\r\n" for one in contents) + f"--{BOUNDARY}--\r\n".encode()


def _chunked(parts: list[bytes]) -> bytes:
    head = b"POST /predict HTTP/1.1\r\n" + HOST + b"content-type: application/octet-stream\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _npy_head(text: str) -> bytes:
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + bytes(64)


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()
