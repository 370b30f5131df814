"""Which folders `bundle=` names, and what their models are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlstack.bundle.files import METADATA
from mlstack.bundle.folder import find_bundle, read_bundle
from mlstack.bundle.metadata import plain_name
from mlstack.errors import BundleError, ConfigError

LATEST = "latest"
RUN_BUNDLE = "bundle"  # what a run calls its bundle's folder: no name for a model

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Found:
    """A folder that holds a bundle, or says that it does.

    Attributes:
        path: The folder, absolute; links are not followed, so that a link may be turned to another bundle.
        named: `bundle=` names it; False = it was found in a folder that `bundle=` names.
        signature: Of its metadata.json: another one means another bundle.
    """

    path: Path
    named: bool
    signature: Signature


def signature_of(bundle: Path) -> Signature | None:
    """Time of change in nanoseconds, inode and bytes of metadata.json; None where it isn't there."""
    try:
        facts = (bundle / METADATA).stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size


def settle_latest(bundles: Sequence[str], output_dir: str) -> list[str]:
    """What `bundle=` names, with the newest bundle of today in place of `latest`.

    Raises:
        BundleError: There is none.
    """
    return [str(find_bundle(LATEST, output_dir=output_dir)) if one == LATEST else one for one in bundles]


def discover(bundles: Sequence[str]) -> tuple[list[Found], list[Path]]:
    """The bundles that are there now, each once, in the order of `bundle=`, then of their names.

    Args:
        bundles: Bundle folders, run folders, or folders of such; `latest` has been settled.

    Returns:
        The bundles, and folders beside them that hold none.

    Raises:
        BundleError: A folder is not there.
    """
    found: dict[Path, Found] = {}
    others: list[Path] = []
    for one in bundles:
        folder = Path(one).expanduser().absolute()
        own = _found(folder, named=True)
        if own is not None:
            found.setdefault(own.path, own)
            continue
        if not folder.is_dir():
            find_bundle(one)  # puts back what a dead writer moved aside, or says that nothing is there
        for below in _below(folder):
            inner = _found(below, named=False)
            if inner is None:
                others.append(below)
            else:
                found.setdefault(inner.path, inner)
    return list(found.values()), others


def name_bundles(paths: Sequence[Path], taken: Mapping[str, Path]) -> dict[Path, str]:
    """What the models of new bundles are called: by their folder, or with their version where that is not enough.

    Args:
        paths: The bundles' folders.
        taken: Names that are in use, and by whom: they are not given away.

    Raises:
        ConfigError: Two have the same name and version; the line names both.
        BundleError: A metadata.json can't be read.
    """
    plain = {path: _plain_label(path) for path in paths}
    often = Counter([*plain.values(), *taken])
    users = dict(taken)
    labels = {}
    for path, label in plain.items():
        if often[label] > 1:
            label = f"{label}@{read_bundle(path, verify=False).metadata.version}"
        if label in users:
            raise ConfigError(
                f"bundle=: {users[label]} and {path} would both be called {label}",
                key="bundle",
                hint="rename one of the folders, or give one bundle another version",
            )
        users[label] = path
        labels[path] = label
    return labels


def own_name(path: Path) -> str:
    """What a bundle is called by its folder alone: its metadata.json can't be read, or its name is another one's."""
    return plain_name(path.parent.name if path.name == RUN_BUNDLE else path.name)


def _found(folder: Path, *, named: bool) -> Found | None:
    for path in (folder, folder / RUN_BUNDLE):
        signature = signature_of(path)
        if signature is not None:
            return Found(path, named, signature)
    return None


def _below(folder: Path) -> list[Path]:
    """Folders in a folder, but for hidden ones: those are bundles that are being written."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise BundleError(f"{folder} can't be read: {error.strerror or error}") from error


def _plain_label(path: Path) -> str:
    return read_bundle(path, verify=False).metadata.name if path.name == RUN_BUNDLE else plain_name(path.name)
