"""Downloads that resume, verify what they get, and fall through from mirror to mirror.

What has arrived lies in `<name>.part` until its checksum is right, so that a file under its own name is always whole.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from mlstack.datasets.places import exclusive
from mlstack.errors import ConfigError, DownloadError

TIMEOUT = 5.0  # seconds to connect, and of silence
ATTEMPTS = 20  # times that a connection may break off, as long as each brought something
BLOCK = 1 << 18  # bytes
MANIFEST = ".downloaded"  # what lies in a folder because we put it there: one name a line


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network.

    Attributes:
        url: Its official address.
        md5: Its checksum, hexadecimal, as the publisher states it.
        size: In bytes.
    """

    url: str
    md5: str
    size: int

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


class SourceError(Exception):
    """One address that did not deliver; the next one is tried."""


def fetch(files: Sequence[RemoteFile], folder: Path, *, mirrors: Sequence[str], name: str) -> None:
    """Bring files into a folder, side by side; files that are there and whole are left alone.

    Args:
        files: What to fetch.
        folder: Where to; it is made.
        mirrors: Base addresses that are tried before the official one.
        name: The data set, for the progress bar and the error.

    Raises:
        ConfigError: A mirror that is no address.
        DownloadError: No address delivered a file; it names each with its reason.
        OutputError: The folder can't be written.
    """
    for mirror in mirrors:
        if urlsplit(mirror).scheme not in ("http", "https", "file"):
            raise ConfigError(
                f"data.mirrors: {mirror!r} is not an address",
                key="data.mirrors",
                allowed=("http://…", "https://…", "file:///…"),
            )
    total = sum(file.size for file in files)
    with (
        exclusive(folder),
        tqdm(total=total, unit="B", unit_scale=True, desc=f"download {name}", disable=None) as bar,
        ThreadPoolExecutor(len(files)) as pool,
    ):
        jobs = [pool.submit(_fetch_one, file, folder, mirrors, bar) for file in files]
    for file, job in zip(files, jobs, strict=True):
        failures = job.result()
        if failures:
            raise DownloadError(
                f"{file.name} could not be downloaded: {'; '.join(failures)}", hint=ways_out(name, folder)
            )


def ways_out(name: str, folder: Path) -> str:
    """What a user can do where a set can't be fetched: three lines."""
    return (
        "a mirror that you can reach:    data.mirrors=[https://…]\n"
        f"or put the files by hand into:  {folder}\n"
        "or take another set:            data=digits (embedded, no download)"
    )


def record(folder: Path, name: str) -> None:
    """Note in the folder's manifest that `name` came from us, so that `download.py clean=true` may remove it."""
    manifest = folder / MANIFEST
    known = manifest.read_text("utf-8").splitlines() if manifest.exists() else []
    if name not in known:
        manifest.write_text("".join(f"{line}\n" for line in [*known, name]), "utf-8")


def _fetch_one(file: RemoteFile, folder: Path, mirrors: Sequence[str], bar: tqdm[None]) -> list[str]:
    """Fetch one file; the reasons why each address failed, none where one delivered."""
    target = folder / file.name
    if target.is_file() and _md5(target) == file.md5:
        bar.update(file.size)
        return []
    part = target.with_name(file.name + ".part")
    failures = []
    for url in [*(f"{mirror.rstrip('/')}/{file.name}" for mirror in mirrors), file.url]:
        try:
            _fetch_from(url, part, file, bar)
        except SourceError as error:
            failures.append(f"{urlsplit(url).netloc or url}: {error}")
            continue
        part.replace(target)
        with RECORDING:
            record(folder, file.name)
        return []
    return failures


RECORDING = threading.Lock()  # files of one set arrive side by side and share a manifest


def _fetch_from(url: str, part: Path, file: RemoteFile, bar: tqdm[None]) -> None:
    """Fill `part` from one address and verify it; SourceError says why not."""
    inherited = _size(part) > 0  # from an earlier run, or from another mirror
    bar.update(_size(part))
    _transfer(url, part, file, bar)
    if _md5(part) == file.md5:
        return
    _discard(part, bar)
    if not inherited:
        raise SourceError("delivered something else (wrong checksum)")
    _transfer(url, part, file, bar)  # perhaps only the inherited piece was bad
    if _md5(part) != file.md5:
        _discard(part, bar)
        raise SourceError("delivered something else (wrong checksum)")


def _transfer(url: str, part: Path, file: RemoteFile, bar: tqdm[None]) -> None:
    """Append to `part` until it has the file's size, reconnecting as long as each connection brings something."""
    _resolve(url)
    for _ in range(ATTEMPTS):
        before = _size(part)
        if before >= file.size:
            return
        try:
            _receive(url, part, file, bar)
            return
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                _discard(part, bar)
                continue
            raise SourceError(f"{error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            if _size(part) <= before:
                raise SourceError(_reason(error)) from error
    raise SourceError(f"the connection broke off {ATTEMPTS} times")


def _receive(url: str, part: Path, file: RemoteFile, bar: tqdm[None]) -> None:
    """One connection: ask for what is missing and append it; a server without Range sends everything anew."""
    have = _size(part)
    headers = {"User-Agent": "mlstack", **({"Range": f"bytes={have}-"} if have else {})}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if have and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            _discard(part, bar)
        expected = int(response.headers.get("Content-Length") or 0)
        received = 0
        with part.open("ab") as output:
            while block := response.read(BLOCK):
                output.write(block)
                bar.update(len(block))
                received += len(block)
                if output.tell() > file.size:
                    break  # too long to be the file: the checksum will say so
    if received < expected and _size(part) < file.size:
        raise ConnectionError(f"broke off after {received} of {expected} bytes")


def _resolve(url: str) -> None:
    """Fail within seconds where names can't be resolved: the system's own resolver may take half a minute."""
    parts = urlsplit(url)
    host = parts.hostname
    if not host or (parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)):
        return
    problems: list[str] = ["its name is not resolved (no network?)"]

    def ask() -> None:
        try:
            socket.getaddrinfo(host, None)
            problems.clear()
        except OSError:
            return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(TIMEOUT)
    if problems:
        raise SourceError(problems[0])


def _discard(part: Path, bar: tqdm[None]) -> None:
    bar.update(-_size(part))
    part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    """Why, in a few words; URLError hides the system's error in `reason`."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    return str(getattr(cause, "strerror", None) or cause or type(error).__name__)
