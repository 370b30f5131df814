"""API keys: who may ask, from a file that holds a hash of each key and never the key itself.

    # name   hash                     may use /admin
    alice    sha256:9f86d081884c7d65…
    ops      sha256:60303ae22b998861…  admin

A key is 32 random bytes behind `mls_`, made by `python scripts/make_api_key.py name=alice file=keys.txt`. Nobody can
guess or look up 256 random bits, so one SHA-256 hides them; the slow hashes that passwords need would only slow down
each request. Texts of another form are never taken, so that no password can stand in for a key.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlstack.errors import ConfigError, OutputError
from mlstack.serving.problems import Problem

LOG = logging.getLogger("mlstack.serving.keys")
PREFIX = "mls_"
KEY = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64 without padding
NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
LOOK_EVERY = 1.0  # seconds between two looks at the file
SETTLED = 2.0  # seconds; a file changed later than that ago may change again without a new time stamp
MAKE_ONE = "python scripts/make_api_key.py name=NAME file={file}"


@dataclass(frozen=True)
class Client:
    """Whose key was sent, and whether it may use /admin."""

    name: str
    admin: bool


@dataclass(frozen=True)
class Entry:
    """A line of the file; `digest` is the key's SHA-256, 32 bytes."""

    client: Client
    digest: bytes


class KeyRing:
    """The keys of a file, which may be edited while the service runs.

    An edit counts a second later. One that can't be read leaves the keys as they were and is logged, so that a slip
    of the editor locks nobody out; a key is taken away by deleting its line, not the file.

    Args:
        path: The file.
        clock: Seconds; never goes back.

    Raises:
        ConfigError: The file is not there, not readable, or has a line that is no key.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._clock = clock
        self._seen: tuple[int, ...] | None = None
        self._complaint = ""
        self._entries = self._read()
        self._looked = clock()

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, headers: Mapping[str, str]) -> Client | None:
        """Whose key the headers carry: `authorization: Bearer KEY`, or `x-api-key: KEY`; None without a known one.

        The key is compared with every entry in constant time: how long it takes tells nothing about any of them.

        Args:
            headers: Names in small letters.
        """
        self._refresh()
        key = sent_key(headers)
        if not KEY.fullmatch(key):
            return None
        digest = hashlib.sha256(key.encode("ascii")).digest()
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.client
        return found

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            if self._seen != _stamp(self._path.stat()):
                self._entries = self._read()
                self._complaint = ""
        except (OSError, ConfigError) as error:
            complaint = error.message if isinstance(error, ConfigError) else f"{self._path}: {error.strerror}"
            if complaint != self._complaint:
                LOG.error("the keys stay as they were: %s", complaint)
            self._complaint = complaint

    def _read(self) -> tuple[Entry, ...]:
        try:
            with self._path.open("rb") as file:
                before = os.fstat(file.fileno())
                data = file.read()
        except OSError as error:
            raise ConfigError(
                f"serve.api_keys_file={self._path} can't be read: {error.strerror}",
                key="serve.api_keys_file",
                hint="make a key, and the file: " + MAKE_ONE.format(file=self._path),
            ) from error
        self._seen = _stamp(before) if time.time() - before.st_mtime > SETTLED else None
        entries = read_entries(data.decode("utf-8", "replace"), self._path)
        if not entries:
            raise _refused(f"{self._path} holds no key", self._path)
        return entries


def read_entries(text: str, path: Path) -> tuple[Entry, ...]:
    """The entries of a file of keys.

    Args:
        text: Of the file.
        path: For messages, which never quote what stands where a hash should.

    Raises:
        ConfigError: A line is no entry, or a name stands twice.
    """
    entries: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, digest, *rest = [*words, ""] if len(words) == 1 else words
        if not NAME.fullmatch(name) or not HASH.fullmatch(digest) or rest not in ([], ["admin"]):
            raise _refused(f"{path}, line {number}, is not `name sha256:<64 hex digits> [admin]`", path)
        if name in entries:
            raise _refused(f"{path}, line {number}: the name {name} stands there twice", path)
        entries[name] = Entry(Client(name, admin=bool(rest)), bytes.fromhex(digest.removeprefix("sha256:")))
    return tuple(entries.values())


def add_key(path: Path, name: str, *, admin: bool) -> str:
    """Make a key and append its hash to a file, which only its owner can read when it is made here.

    Returns:
        The key. It is stored nowhere.

    Raises:
        ConfigError: The name is no plain one or is taken, or the file holds something else than keys.
        OutputError: The file can't be written.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"name={name!r} is not a plain one", key="name", allowed=("1 to 64 of A-Z a-z 0-9 . _ @ -",))
    key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name} sha256:{hashlib.sha256(key.encode('ascii')).hexdigest()}{' admin' if admin else ''}\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two of these commands at once: one after the other
            text = file.read().decode("utf-8", "replace")
            if any(entry.client.name == name for entry in read_entries(text, path)):
                raise ConfigError(
                    f"{path} has a key of the name {name} already", key="name", hint="delete its line, or take another"
                )
            file.write(("" if not text or text.endswith("\n") else "\n").encode() + line.encode())
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}", hint="choose another file=") from error
    return key


def sent_key(headers: Mapping[str, str]) -> str:
    """The key that a request carries; empty without one."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


def key_needed(headers: Mapping[str, str]) -> Problem:
    """401: no key was sent, or one that is not known. It says what to send and repeats nothing of what was sent."""
    what = "this API key is not known here" if sent_key(headers) else "this service wants an API key"
    detail = f"{what}; send one as `authorization: Bearer KEY` or `x-api-key: KEY`, or ask whoever runs the service"
    return Problem(401, detail, reason="unauthorized", headers=(("www-authenticate", 'Bearer realm="mlstack"'),))


def admin_needed(client: Client | None) -> Problem:
    """403: the key is known but is no administrator's; or the service runs without keys and has none."""
    if client is None:
        detail = "this address is for administrators; start the service with serve.api_keys_file and send an admin key"
    else:
        detail = f"the key of {client.name} is not an administrator's; send one whose line in the key file says `admin`"
    return Problem(403, detail, reason="forbidden")


def _refused(message: str, path: Path) -> ConfigError:
    hint = "make a key, and its line: " + MAKE_ONE.format(file=path)
    return ConfigError(message, key="serve.api_keys_file", hint=hint)


def _stamp(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
