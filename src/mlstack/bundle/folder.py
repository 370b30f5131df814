"""A bundle's folder: finding it, reading it, and writing it whole or not at all (`replacing.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mlstack.bundle.fields import AGAIN
from mlstack.bundle.files import METADATA, check_contents, check_places, facts_of, files_in
from mlstack.bundle.metadata import Metadata, from_json, to_json
from mlstack.bundle.replacing import recover, replacing
from mlstack.errors import BundleError, OutputError

MAX_METADATA_BYTES = 16 * 2**20  # 100,000 classes with names of 100 letters are 10 MB


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read.

    Attributes:
        path: Its folder.
        metadata: What its metadata.json says.
    """

    path: Path
    metadata: Metadata

    def model(self, precision: str | None = None) -> Path:
        """The ONNX file of a precision; None = the one that the bundle names as its default.

        Raises:
            BundleError: The bundle has none of that precision.
        """
        wanted = precision or self.metadata.default
        for model in self.metadata.models:
            if model.precision == wanted:
                return self.path / model.file
        there = [model.precision for model in self.metadata.models]
        raise BundleError(f"{self.path} has no {wanted} model", allowed=there)


def read_bundle(path: str | Path, *, verify: bool = True) -> Bundle:
    """Read a bundle and check that it is whole.

    Args:
        path: Its folder.
        verify: Also compare the sha256 of each file, and refuse files that don't belong to it.

    Raises:
        BundleError: No bundle there, another schema version, or a file that is missing, changed or unknown: one line
            with the file's name.
    """
    folder = Path(path).expanduser()
    recover(folder)
    metadata = from_json(_read_text(folder / METADATA), folder / METADATA)
    check_places(folder, metadata)
    if verify:
        check_contents(folder, metadata)
    return Bundle(folder, metadata)


def find_bundle(which: str, *, output_dir: str | Path = "outputs", key: str = "bundle") -> Path:
    """The folder that `bundle=` (or another key) names.

    Args:
        which: A bundle, a run folder that holds bundle/, or `latest`: the newest by `created_at` of all runs.
        output_dir: Where runs are looked for.
        key: What the user typed it after.

    Raises:
        BundleError: There is none.
    """
    root = Path(output_dir).expanduser()
    if which == "latest":
        dated = [(made, path.parent) for path in root.glob(f"*/*/bundle/{METADATA}") if (made := _created_at(path))]
        if not dated:
            raise BundleError(
                f"{key}=latest: no run in {root}/ has a bundle",
                hint="make one first: python scripts/export.py run=latest\nor name another place: output_dir=<folder>",
            )
        return max(dated)[1]
    folder = Path(which).expanduser()
    recover(folder)
    for path in (folder, folder / "bundle"):
        if (path / METADATA).is_file():
            return path
    raise BundleError(
        f"{key}={which}: no bundle there (a bundle holds {METADATA})",
        hint=f"make one: python scripts/export.py run=latest\n{key}=latest takes the newest bundle in {root}/",
    )


@contextmanager
def write_bundle(folder: str | Path) -> Iterator[Path]:
    """A folder to put files in, then to `seal`; at the end of the block it stands where `folder` says, on the disk.

    Whenever the process ends, by a signal or a power cut too, either the old bundle is there, whole, or the new one.

        with write_bundle(run.path / "bundle") as staging:
            ...                                    # model.onnx, reference.npz, README.md, figures/
            metadata = seal(staging, metadata)     # metadata.json, last

    Raises:
        OutputError: The folder can't be written, or holds something that is not a bundle.
    """
    target = Path(folder).expanduser().resolve()
    _check_target(target)
    with replacing(target) as staging:
        yield staging
        assert (staging / METADATA).is_file(), "a bundle is sealed before it is moved to its place"


def seal(staging: Path, metadata: Metadata) -> Metadata:
    """Write metadata.json for all the files of a folder.

    Args:
        staging: The folder; everything else is in it.
        metadata: Without `files` and sizes of models, which are filled in.

    Returns:
        The metadata as they were written.

    Raises:
        BundleError: A value that no bundle can have; the line names the field.
    """
    (staging / METADATA).unlink(missing_ok=True)
    facts = {name: facts_of(staging / name) for name in files_in(staging)}
    models = tuple(replace(model, bytes=facts[model.file].bytes) for model in metadata.models)
    complete = replace(metadata, models=models, files=facts)
    text = to_json(complete)
    from_json(text, Path(METADATA))
    (staging / METADATA).write_text(text, encoding="utf-8")
    return complete


def _check_target(folder: Path) -> None:
    """Refuse to replace what is not a bundle, or has something of the user's own in it."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        bundle = read_bundle(folder, verify=False)
        own = [name for name in files_in(folder) if name not in bundle.metadata.files]
    except BundleError as error:
        raise OutputError(
            f"{folder} is there, and it is not a whole bundle that could be replaced: {error.message}",
            hint="choose another output=, or delete it first",
        ) from error
    if own:
        raise OutputError(
            f"{folder} can't be replaced: {own[0]} in it does not belong to the bundle",
            hint="move that file elsewhere, or choose another output=",
        )


def _read_text(path: Path) -> str:
    """metadata.json's text, where it is a file of a sensible size."""
    try:
        if not path.is_file():
            raise BundleError(f"{path} is missing: no bundle there", hint=AGAIN)
        with path.open("rb") as file:
            content = file.read(MAX_METADATA_BYTES + 1)
        if len(content) > MAX_METADATA_BYTES:
            raise BundleError(f"{path} is damaged: larger than {MAX_METADATA_BYTES >> 20} MiB", hint=AGAIN)
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise BundleError(f"{path} can't be read: {reason}", hint=AGAIN) from error


def _created_at(path: Path) -> datetime | None:
    """When a bundle was made, whatever its schema version; None where its metadata.json can't be read."""
    try:
        moment = datetime.fromisoformat(json.loads(_read_text(path))["created_at"])
    except (BundleError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
