"""The decoded cache: every picture of a folder once as uint8, in one .npy file that is mapped into memory.

Its name holds the pictures' side, channels and resize rule and a key over all file names, sizes and times of change:
other data or another rule make another file. It appears under that name only when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mlstack.datasets.images import FileImages
from mlstack.datasets.places import CACHE_NAME, FALLBACK_CACHE, exclusive
from mlstack.errors import DataError, OutputError

FORMAT = 1  # raise it when decoding changes: older files are then rebuilt
CHUNK = 64  # pictures that a thread decodes at a time


def decoded_cache(images: FileImages) -> Path:
    """The .npy file with all pictures decoded, uint8 [n, side, side, channel]; it is made where it is missing.

    It lies in `.decoded` beside the images, or below data/.cache where their folder can't be written.

    Raises:
        DataError: A file that can't be decoded, or too little room on the disk.
    """
    stem = f"{images.side}px_{images.channels}ch_{images.resize}"
    name = f"{stem}_{_key(images)}.npy"
    shape = (len(images), images.side, images.side, images.channels)
    for folder in _folders(images.root):
        if _is_whole(folder / name, shape):
            return folder / name
    for folder in _folders(images.root):
        try:
            with exclusive(folder):
                if not _is_whole(folder / name, shape):  # another process may have been faster
                    _build(images, folder / name, shape)
                    _remove_stale(folder, stem, keep=name)
            return folder / name
        except OutputError:
            continue
    raise DataError(
        f"the decoded cache can't be written to {FALLBACK_CACHE} either", hint="data.cache=none does without"
    )


def _folders(root: Path) -> tuple[Path, Path]:
    place = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return root / CACHE_NAME, FALLBACK_CACHE / f"{root.resolve().name}-{place}"


def _key(images: FileImages) -> str:
    digest = hashlib.sha256(b"%d" % FORMAT)
    for name in images.names:
        stat = (images.root / name).stat()
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0%d %d" % (stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()[:16]


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a cache is there with this shape; NumPy refuses to map a file that was cut off."""
    try:
        pictures = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return bool(pictures.shape == shape and pictures.dtype == np.uint8)


def _build(images: FileImages, path: Path, shape: tuple[int, ...]) -> None:
    needed, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
    if needed > free:
        raise DataError(
            f"the decoded cache needs {needed / 1e9:.1f} GB in {path.parent}, {free / 1e9:.1f} GB are free",
            hint="data.cache=none does without, a smaller data.image_size needs less",
        )
    work = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _decode(images, np.lib.format.open_memmap(work, mode="w+", dtype=np.uint8, shape=shape))
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def _decode(images: FileImages, pictures: np.memmap[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Fill `pictures`, a chunk a thread, with a progress bar."""

    def decode(start: int) -> int:
        rows = np.arange(start, min(start + CHUNK, len(images)), dtype=np.int64)
        pictures[start : start + CHUNK] = images.read(rows)
        return len(rows)

    bar = tqdm(total=len(images), unit="images", desc="decode", disable=None)
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for count in pool.map(decode, range(0, len(images), CHUNK)):
            bar.update(count)
    pictures.flush()


def _remove_stale(folder: Path, stem: str, *, keep: str) -> None:
    """Remove caches of the same shape that belong to files as they were before."""
    for path in folder.glob(f"{stem}_*.npy"):
        if path.name != keep:
            path.unlink(missing_ok=True)
