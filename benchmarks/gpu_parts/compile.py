"""torch.compile: images/s once compiled, and what the first step costs. resnet50 at 224 pixels in bf16."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter, Skipped
from gpu_parts._training import made_up, steady


def measure(rows: RowWriter, place: Place) -> None:
    """Plain, then compiled."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        raise Skipped("torch.compile needs a C compiler, and there is none")
    if not place.dry and find_spec("triton") is None:
        raise Skipped("torch.compile needs triton on a GPU, and it is not installed")
    batch, side, model = (2, 16, "target=gpu_parts._networks:plain") if place.dry else (128, 224, "name=resnet50")
    dataset = made_up(place, side=side, batch=batch)
    precision = "32" if place.dry else "bf16"
    words = [f"model.{model}", f"data.batch_size={batch}", f"trainer.precision={precision}"]
    plain = steady(place, dataset, *words)
    title = f"{model.partition('=')[2]} at {side} px, batch {batch}, {precision}"
    rows.add(f"{title}: eager", plain.images_per_second, "images/s", note=plain.note, details=plain.details)
    with rows.attempt(f"{title}: compiled"):
        made = steady(place, dataset, *words, "trainer.compile=true")
        extra = made.first_turn - plain.first_turn
        gained = batch / plain.images_per_second - batch / made.images_per_second  # seconds a step
        even = f"pays off after {extra / gained:,.0f} steps" if gained > 0 else "never pays off"
        note = f"first step {extra:.1f} s later, {even}; {made.note}"
        ratio = made.images_per_second / plain.images_per_second
        rows.add(f"{title}: compiled", made.images_per_second, "images/s", ratio=ratio, against="eager", note=note)


if __name__ == "__main__":
    run_part(measure)
