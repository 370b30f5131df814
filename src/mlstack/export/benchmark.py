"""Measure every model file of some bundles: how good, how large, how fast, how much memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlstack.bundle.folder import Bundle
from mlstack.bundle.metadata import Metadata, ModelFile
from mlstack.errors import MLStackError
from mlstack.export.bundle_data import PRIMARY, HeldOut, data_of, hold_out, score_files
from mlstack.export.latency import Latency, Timed, latencies
from mlstack.export.memory import peak_memory
from mlstack.reports.bundle_rows import MEASURED, RECORDED, MeasuredModel, Speed


@dataclass(frozen=True)
class Scored:
    """How good one model file is.

    Attributes:
        value: Of the task's first metric; None where nobody knows it.
        origin: `MEASURED` or `RECORDED`.
        images: On how many pictures it was measured.
    """

    value: float | None
    origin: str
    images: int | None


def score_bundle(bundle: Bundle, *, split: str, limit: int | None, threads: int) -> tuple[list[Scored], str]:
    """How good each model file of a bundle is, in their order, and what has to be said about that.

    Args:
        bundle: Measured on its own data where they are here; otherwise what the bundle records is taken.
        split: `val` or `test`.
        limit: Pictures of it; None = all.
        threads: Of the runtime.

    Returns:
        The scores, and a remark; empty where they were measured on the very data of the training.
    """
    metric = PRIMARY[bundle.metadata.task]
    files = bundle.metadata.models
    try:
        held_out = hold_out(data_of(bundle), split, limit=limit)
        found = score_files([bundle.path / one.file for one in files], held_out, threads=threads)
    except MLStackError as error:
        recorded = [Scored(one.metrics.get(split, {}).get(metric), RECORDED, None) for one in files]
        return recorded, f"{metric} as recorded in the bundle, not measured: {error.message}"
    scored = [Scored(one[metric], MEASURED, len(held_out)) for one in found]
    return scored, "" if is_own(held_out, bundle.metadata) else "not the data that it was trained on (fingerprint)"


def is_own(held_out: HeldOut, metadata: Metadata) -> bool:
    """Whether data are those that a bundle was trained on, as far as it says."""
    return metadata.data.get("fingerprint") in (None, "", held_out.dataset.fingerprint)


def names_of(bundles: Sequence[Bundle]) -> list[str]:
    """A name for each bundle, another one than each other's: the model's, with its version, or else the path."""
    plain = [bundle.metadata.name for bundle in bundles]
    versioned = [f"{bundle.metadata.name}_{bundle.metadata.version}" for bundle in bundles]
    paths = [str(bundle.path) for bundle in bundles]
    counts = Counter(plain), Counter(versioned)
    return [
        plain[row] if counts[0][plain[row]] == 1 else versioned[row] if counts[1][versioned[row]] == 1 else paths[row]
        for row in range(len(bundles))
    ]


def batches_of(metadata: Metadata, wanted: Sequence[int]) -> list[int]:
    """The batch sizes that a bundle is measured at, ascending: its own where it takes no other."""
    return [metadata.batch] if metadata.batch is not None else sorted(set(wanted))


def speed_bundles(
    bundles: Sequence[Bundle],
    *,
    batch_sizes: Sequence[int],
    threads: Sequence[int],
    seconds: float,
    progress: Callable[[str], None] = lambda text: None,
) -> list[list[tuple[Speed, ...]]]:
    """Times and memory of every model file of every bundle, by bundle and file; all files take turns.

    Args:
        bundles: What is measured.
        batch_sizes: Images a call.
        threads: Of the runtime.
        seconds: For each file, batch size and number of threads.
        progress: Told what begins.

    Returns:
        For each bundle, for each of its files: speeds by threads in the order given, then by batch size ascending.
    """
    cases = [
        (row, place, batch, count)
        for row, bundle in enumerate(bundles)
        for place in range(len(bundle.metadata.models))
        for count in dict.fromkeys(threads)
        for batch in batches_of(bundle.metadata, batch_sizes)
    ]
    timed = [
        _timed(bundles[row], bundles[row].metadata.models[place], batch, count) for row, place, batch, count in cases
    ]
    progress(
        f"measuring {len(timed)} combinations in turns, about {max(1, round(len(timed) * seconds))} s, then memory …"
    )
    speeds: list[list[list[Speed]]] = [[[] for _ in bundle.metadata.models] for bundle in bundles]
    for (row, place, _, _), one, found in zip(cases, timed, latencies(timed, seconds=seconds), strict=True):
        speeds[row][place].append(_speed(one, found))
    return [[tuple(of_file) for of_file in of_bundle] for of_bundle in speeds]


def _timed(bundle: Bundle, model: ModelFile, batch: int, threads: int) -> Timed:
    """Pictures of noise: how long a convolution takes does not depend on what it sees."""
    picture = bundle.metadata.input
    shape = (batch, picture.height, picture.width, picture.channels)
    return Timed(bundle.path / model.file, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), threads)


def _speed(one: Timed, found: Latency) -> Speed:
    return Speed(
        batch=len(one.images),
        threads=one.threads,
        p50=found.p50,
        p95=found.p95,
        p99=found.p99,
        cpu=found.cpu,
        images_per_second=found.images_per_second,
        memory_mb=peak_memory(one.path, one.images.shape, threads=one.threads),
        calls=found.calls,
    )


def rows_of(
    bundle: Bundle, name: str, scores: Sequence[Scored], speeds: Sequence[tuple[Speed, ...]]
) -> list[MeasuredModel]:
    """What was found out about one bundle, a row for each model file."""
    return [
        MeasuredModel(
            bundle=name,
            path=str(bundle.path / model.file),
            precision=model.precision,
            default=model.precision == bundle.metadata.default,
            bytes=model.bytes,
            metric=PRIMARY[bundle.metadata.task],
            score=scored.value,
            origin=scored.origin,
            images=scored.images,
            data=str(bundle.metadata.data.get("fingerprint") or ""),
            speeds=of_file,
        )
        for model, scored, of_file in zip(bundle.metadata.models, scores, speeds, strict=True)
    ]
