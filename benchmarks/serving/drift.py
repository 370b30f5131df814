"""How often drift is raised without any, and how soon with one: `python benchmarks/serving/drift.py bundle=FOLDER`.

The bundle is one of Fashion-MNIST (`recipe=fashion_mnist_resnet18`); it answers the 10,000 test pictures as they are
and 20 % brighter (1 to 4 minutes), from which windows and streams are drawn (3 minutes). `cache=FILE` keeps the
answers. Without a shift: 5,000 independent windows of 500 answers, against references as an export makes them (1,000
pictures, classes counted over 6,000 with those) and against the bundle's own. No picture is in a reference and in
its windows: shared ones would make both alike, and alarms rarer than in a service. With a shift: the stream shifts
at a random place between two comparisons, and answers are counted from there to the first comparison that finds it.
Last come the costs of one call.
"""

from __future__ import annotations

import argparse
import gzip
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.reference import MAX_PICTURES, REFERENCE, Reference, count_classes, read_reference
from mlstack.bundle.session import Session
from mlstack.config.serving import DriftConfig
from mlstack.monitoring.comparison import compare
from mlstack.monitoring.drift import AT_ONCE, LASTING, DriftMonitor
from mlstack.monitoring.watched import Answers, Watched, grid_light

WINDOWS, STREAMS, CALM_ANSWERS = 5000, 300, 200_000
COUNTED = 6000  # pictures of val in Fashion-MNIST
WINDOW, EVERY, ALPHA = DriftConfig().window, DriftConfig().every, DriftConfig().alpha
IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
Pool = dict[str, NDArray[np.float32]]


def main() -> None:
    """Answer the pictures, draw from the answers, print."""
    arguments = dict(text.split("=", 1) for text in _arguments())
    bundle = read_bundle(arguments["bundle"])
    folder = Path(arguments.get("data", "/usr/share/datasets/fashion-mnist"))
    labels = np.frombuffer(gzip.decompress((folder / LABELS).read_bytes()), np.uint8, offset=8)
    plain, bright = pools(bundle, folder, arguments.get("cache"))
    own, random = read_reference(bundle.path / REFERENCE, bundle.metadata), np.random.default_rng(0)
    print(f"window {WINDOW}, compared every {EVERY} answers, alpha {ALPHA}", flush=True)
    print(f"the bundle's own reference: {len(own.outputs):,} pictures, classes of {own.counted:,}", flush=True)
    drawn = []
    for _ in range(WINDOWS // 10):
        places = random.permutation(len(labels))
        rest = {name: array[places[COUNTED:]] for name, array in plain.items()}
        drawn.append(false_alarms(drawn_from(own, plain, places[:COUNTED]), bundle, rest, 10, random))
    bar("no shift, references drawn from the same pictures", float(np.mean(drawn)))
    bar("no shift, the bundle's own reference", false_alarms(own, bundle, plain, WINDOWS, random))
    watched = Watched(own, bundle.metadata)
    now = rows_of(watched, plain)
    calm = p_values(watched, take(now, random.integers(0, len(labels), CALM_ANSWERS + WINDOW)))
    for name, found in (("first comparison", calm <= ALPHA), ("confirmed", confirmed(calm))):
        print(
            f"  stream without shift, {name}: {episodes(found) * 100_000 / CALM_ANSWERS:.1f} alarms in 100,000 answers"
        )
    lighter = rows_of(watched, bright)
    report_shift("brightness +20 %", watched, [(now, lighter, None)], random)
    shifts = [(now, now, np.where(labels == one, 2.25, 1.0)) for one in range(10)]
    report_shift("one class from 10 to 20 %", watched, shifts, random)
    report_shift("one class from 10 to 18 %", watched, [(a, b, np.minimum(w, 2)) for a, b, w in shifts], random)
    report_costs(own, bundle)


def _arguments() -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="+", help="bundle=FOLDER [data=FOLDER of Fashion-MNIST] [cache=FILE.npz]")
    return list(parser.parse_args().settings)


def pools(bundle: Bundle, folder: Path, cache: str | None) -> tuple[Pool, Pool]:
    """Answers to the test pictures as they are, and 20 % brighter."""
    if cache and Path(cache).is_file():
        with np.load(cache) as file:
            kept = {name: file[name] for name in file.files}
    else:
        raw = np.frombuffer(gzip.decompress((folder / IMAGES).read_bytes()), np.uint8, offset=16)
        images = raw.reshape(-1, 28, 28, 1)
        brighter = np.minimum(np.round(images * np.float32(1.2)), 255).astype(np.uint8)
        kept = {f"plain_{name}": array for name, array in answer(bundle, images).items()}
        kept |= {f"bright_{name}": array for name, array in answer(bundle, brighter).items()}
        if cache:
            np.savez(cache, allow_pickle=False, **kept)
    names = ("brightness", "contrast", "output", "features")
    first, second = ({name: kept[f"{kind}_{name}"] for name in names} for kind in ("plain", "bright"))
    return first, second


def answer(bundle: Bundle, images: NDArray[np.uint8]) -> Pool:
    session = Session(bundle.model())
    answers = [session.run(images[start : start + 100]) for start in range(0, len(images), 100)]
    brightness, contrast = grid_light(images)
    return {
        "brightness": brightness,
        "contrast": contrast,
        "output": np.concatenate([one.output for one in answers]),
        "features": np.concatenate([one.features for one in answers]),
    }


def drawn_from(own: Reference, pool: Pool, places: NDArray[np.int64]) -> Reference:
    """A reference about some of the pool's pictures: the first 1,000 as rows, all of them as counts of classes."""
    class_counts, counted = count_classes(pool["output"][places], "classification")
    kept = {name: pool[name][places[:MAX_PICTURES]] for name in ("brightness", "contrast", "output", "features")}
    halves = kept.pop("features").astype(np.float16)
    return replace(own, outputs=kept.pop("output"), features=halves, class_counts=class_counts, counted=counted, **kept)


def rows_of(watched: Watched, pool: Pool) -> Answers:
    rows = watched.rows(pool["brightness"], pool["contrast"], pool["output"], pool["features"])
    return Answers(watched.rounded(rows.numbers).astype(np.float64), rows.classes)


def take(rows: Answers, places: NDArray[np.int64] | slice) -> Answers:
    return Answers(rows.numbers[places], rows.classes[places])


def false_alarms(reference: Reference, bundle: Bundle, pool: Pool, windows: int, random: np.random.Generator) -> float:
    """Share of independent windows in which a single comparison finds drift."""
    watched = Watched(reference, bundle.metadata)
    rows, alarms = rows_of(watched, pool), 0
    for _ in range(windows):
        window = take(rows, random.choice(len(rows.numbers), WINDOW, replace=False))
        alarms += compare(watched, window, alpha=ALPHA).p_value <= ALPHA
    return alarms / windows


def p_values(watched: Watched, stream: Answers) -> NDArray[np.float64]:
    """Of the comparisons that a service makes of a stream, the first when the window is full."""
    ends = range(WINDOW, len(stream.numbers) + 1, EVERY)
    return np.array([compare(watched, take(stream, slice(end - WINDOW, end)), alpha=ALPHA).p_value for end in ends])


def confirmed(found: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where `DriftReport.confirmed` would begin or go on."""
    in_row = np.zeros(len(found), np.int64)
    for place, p_value in enumerate(found):
        in_row[place] = in_row[place - 1] + 1 if p_value <= ALPHA else 0
    return (found <= AT_ONCE * ALPHA) | ((in_row - 1) * EVERY >= LASTING * WINDOW)


def episodes(found: NDArray[np.bool_]) -> int:
    """Alarms, those within a window of the one before counted with it."""
    places = np.flatnonzero(found)
    return int(len(places) > 0) + int(np.count_nonzero(np.diff(places) * EVERY > WINDOW))


def report_shift(
    name: str,
    watched: Watched,
    shifts: list[tuple[Answers, Answers, NDArray[np.float64] | None]],
    random: np.random.Generator,
) -> None:
    """Print after how many answers a shift is found. A shift: rows before, rows after, and weights of those."""
    first, second = [], []
    for number in range(STREAMS):
        old, new, weights = shifts[number % len(shifts)]
        since = int(random.integers(1, EVERY + 1))  # answers between the shift and the next comparison
        before = take(old, random.integers(0, len(old.numbers), WINDOW + EVERY - since))
        shares = None if weights is None else weights / weights.sum()
        after = take(new, random.choice(len(new.numbers), 1000, p=shares))
        rows = Answers(
            *(np.concatenate(both) for both in zip(vars(before).values(), vars(after).values(), strict=True))
        )
        found = p_values(watched, rows)
        for flags, delays in ((found <= ALPHA, first), (confirmed(found), second)):
            later = np.flatnonzero(flags[1:])
            delays.append(later[0] * EVERY + since if len(later) else np.inf)
    for kind, delays in (("", first), (", confirmed", second)):
        shares_found = ", ".join(f"{np.mean(np.array(delays) <= n):.1%} within {n}" for n in (500, 600, 800))
        print(f"{name}{kind}: found after {np.median(delays):.0f} answers (median), {shares_found}", flush=True)


def report_costs(own: Reference, bundle: Bundle) -> None:
    """Print the CPU time of observing one answer and of a comparison."""
    for size in (32, 224):
        monitor = DriftMonitor(own, bundle.metadata, DriftConfig(images_per_s=1e9))
        image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
        output, features = own.outputs[:1], own.features[:1].astype(np.float32)
        took = []
        for _ in range(2000):
            began = time.perf_counter()
            monitor.observe(image, output, features)
            took.append(time.perf_counter() - began)
        print(f"observe, {size} x {size} x 3: {np.median(took) * 1e6:.0f} µs (median)")
    began = time.process_time()
    for _ in range(50):
        monitor.check()
    print(f"check: {(time.process_time() - began) * 20:.1f} ms of CPU")


def bar(name: str, share: float) -> None:
    print(
        f"{name}: {share:.2%} of {WINDOWS:,} windows raise an alarm, bar 1 %: {'ok' if share <= 0.01 else 'short'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
