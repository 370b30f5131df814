"""How much of a training step is waiting for its pictures: real against synthetic ones, at 32 and at 224 pixels.

resnet18 in bf16, the precision in which a GPU waits the least for itself. `on the device` is the step alone, by hand,
on one batch that never leaves the GPU; `synthetic` adds the engine and the copy to the device; the others add pictures:
an array in memory (crop and flip, in the training process and in workers), JPEG files of 500 × 375 decoded by workers
(random resized crop and flip), and the same from the decoded cache.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from _photographs import make_photographs
from _workload import made_up_pictures
from gpu_parts._bare import milliseconds_a_step
from gpu_parts._part import PHOTOGRAPHS, Place, run_part
from gpu_parts._rows import RowWriter
from gpu_parts._training import Steady, endless, made_up, settings, steady
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import load_dataset

MODEL = ("model=resnet18", "trainer.precision=bf16")
DRY_MODEL = ("model=small_cnn", "trainer.precision=32")
AUGMENTED = ("data.augment.flip=0.5", "data.augment.crop=4")
PHOTOGRAPHED = ("data.augment.flip=0.5", "data.augment.resized_crop=0.35")
SYNTHETIC = "synthetic pictures"


def measure(rows: RowWriter, place: Place) -> None:
    """Both sizes."""
    small_pictures(rows, place)
    photographs(rows, place)


def small_pictures(rows: RowWriter, place: Place) -> None:
    """32 × 32, as CIFAR-10 has them."""
    batch = 16 if place.dry else 512
    words = (*(DRY_MODEL if place.dry else MODEL), f"data.batch_size={batch}")
    title = f"32 px, batch {batch}"
    synthetic = reference(rows, place, title, words, side=32, batch=batch)
    real = endless(made_up_pictures(64 if place.dry else 50_000), batch)
    for name, workers in (("in memory", 0), ("in memory, workers", min(4, place.workers))):
        with rows.attempt(f"{title}: {name}"):
            found = steady(place, real, *words, *AUGMENTED, f"data.num_workers={workers}")
            add(rows, f"{title}: {name}", found, synthetic, batch, workers=workers)


def photographs(rows: RowWriter, place: Place) -> None:
    """224 × 224, from JPEG files and from the decoded cache."""
    batch, side = (4, 64) if place.dry else (128, 224)
    words = (*(DRY_MODEL if place.dry else MODEL), f"data.batch_size={batch}")
    title = f"{side} px, batch {batch}"
    synthetic = reference(rows, place, title, words, side=side, batch=batch)
    folder = pictures(place)
    for name, cache in (("JPEG files", "none"), ("decoded cache", "disk")):
        with rows.attempt(f"{title}: {name}"):
            source = ["data=image_folder", f"data.path={folder}", f"data.cache={cache}", f"data.image_size={side}"]
            source.append(f"data.num_workers={place.workers}")
            dataset = endless(load_dataset(compose(Config, source).data), batch)
            found = steady(place, dataset, *source, *words, *PHOTOGRAPHED)
            add(rows, f"{title}: {name}", found, synthetic, batch, workers=place.workers)


def reference(
    rows: RowWriter, place: Place, title: str, words: tuple[str, ...], *, side: int, batch: int
) -> Steady | None:
    """The step alone, then the engine on synthetic pictures; None where that failed."""
    dataset = made_up(place, side=side, batch=batch)
    alone = None
    with rows.attempt(f"{title}: on the device"):
        alone = 1e3 * batch / milliseconds_a_step(place, settings(place, dataset, *words))
        rows.add(f"{title}: on the device", alone, "images/s", note=f"{1e3 * batch / alone:.2f} ms a step, by hand")
    with rows.attempt(f"{title}: {SYNTHETIC}"):
        found = steady(place, dataset, *words)
        ratio = found.images_per_second / alone if alone else None
        compared = {"ratio": ratio, "against": "on the device"} if ratio else {}
        name, speed = f"{title}: {SYNTHETIC}", found.images_per_second
        rows.add(name, speed, "images/s", note=found.note, details=found.details, **compared)
        return found
    return None


def add(rows: RowWriter, name: str, found: Steady, synthetic: Steady | None, batch: int, *, workers: int) -> None:
    """A row with the input's share of a step: the part of its time that synthetic pictures would save."""
    note, compared = f"{workers} workers; {found.note}", {}
    if synthetic is not None:
        ratio = found.images_per_second / synthetic.images_per_second
        share = max(0.0, 1 - ratio)
        milliseconds = 1e3 * batch / found.images_per_second
        note = f"input {share:.0%} of a step of {milliseconds:.1f} ms; {note}"
        compared = {"ratio": ratio, "against": SYNTHETIC, "details": {**found.details, "input_share": share}}
    rows.add(name, found.images_per_second, "images/s", note=note, **compared)


def pictures(place: Place) -> Path:
    """Photographs in a folder of its own, since the decoded cache is written beside them."""
    folder = place.folder / "photographs"
    if PHOTOGRAPHS.is_dir():
        shutil.copytree(PHOTOGRAPHS, folder)
    else:
        make_photographs(folder, 16 if place.dry else 96)
    return folder


if __name__ == "__main__":
    run_part(measure)
