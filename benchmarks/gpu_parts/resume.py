"""Kill a training in the middle of an epoch, go on, and compare with one that nobody killed, bit for bit.

Precision 16 and bf16 with `trainer.deterministic=true`: weights, moving average, optimizer and the scale of the loss
have to be the same. Then bf16 with the kernels that are used by default: how far off, beside how far off two trainings
are that nobody killed. Each is a process of its own; those that don't wait for each other run at once.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_parts._one_run import KILLED, Request, checkpoint, differences, start, waited
from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter

EPOCHS, STEPS, KILLED_AFTER, SAVED_EVERY = 2, 12, 17, 4
COMPARED = ("state_dict", "ema", "optimizer_states", "MixedPrecision")  # keys of a checkpoint; the last holds the scale
WAYS = {
    "16, deterministic kernels": ("16", True),
    "bf16, deterministic kernels": ("bf16", True),
    "bf16, default kernels": ("bf16", False),
}


def measure(rows: RowWriter, place: Place) -> None:
    """All ways at once: first what is begun, then what goes on."""
    requests = {}
    for name, (precision, deterministic) in WAYS.items():
        with rows.attempt(name):
            if precision == "16":
                place.need_gpu("a CPU has no training in 16 bits")
            if not deterministic:
                place.need_gpu("a CPU's kernels are deterministic as they are")
            folder = place.folder / name.replace(", ", "_").replace(" ", "_")
            requests[name] = request(place, folder, precision, deterministic=deterministic)
    begun = {name: begin(made, repeat=not WAYS[name][1]) for name, made in requests.items()}
    going_on = {}
    for name, processes in begun.items():
        with rows.attempt(name):
            folder = Path(requests[name].folder)
            waited({"killed": processes.pop("killed")}, folder, expected=KILLED)
            waited(processes, folder)
            going_on[name] = start(in_part(requests[name], "killed", resume=True))
    for name, process in going_on.items():
        with rows.attempt(name):
            folder = Path(requests[name].folder)
            waited({"killed": process}, folder)
            compare(rows, name, folder)


def begin(request: Request, *, repeat: bool) -> dict[str, subprocess.Popen[bytes]]:
    """A training that nobody stops, one that is killed, and where kernels may differ another that nobody stops."""
    processes = {
        "undisturbed": start(in_part(request, "undisturbed")),
        "killed": start(in_part(request, "killed", kill_after=KILLED_AFTER)),
    }
    return processes | ({"again": start(in_part(request, "again"))} if repeat else {})


def in_part(request: Request, part: str, *, kill_after: int | None = None, resume: bool = False) -> Request:
    """The same training in a folder of its own."""
    return replace(request, folder=str(Path(request.folder) / part), kill_after=kill_after, resume=resume)


def request(place: Place, folder: Path, precision: str, *, deterministic: bool) -> Request:
    """Dropout, MixUp and a moving average: whatever a run that goes on has to restore."""
    batch, model = (8, "small_cnn") if place.dry else (64, "resnet18")
    words = [
        f"model={model}",
        "model.dropout=0.1",
        f"data.batch_size={batch}",
        "data.augment.crop=2",
        "data.augment.mixup=0.4",
        f"trainer.accelerator={place.accelerator}",
        f"trainer.precision={precision}",
        f"trainer.deterministic={str(deterministic).lower()}",
        f"trainer.max_epochs={EPOCHS}",
        f"trainer.checkpoint_every_n_steps={SAVED_EVERY}",
        "trainer.ema_decay=0.9",
        "trainer.progress_bar=false",
        "tracker=none",
    ]
    return Request(str(folder), words, pictures=batch * STEPS)


def compare(rows: RowWriter, name: str, folder: Path) -> None:
    """The killed run's last checkpoint with the undisturbed one's."""
    undisturbed = {key: value for key, value in checkpoint(folder / "undisturbed").items() if key in COMPARED}
    note = f"killed after {KILLED_AFTER} of {EPOCHS * STEPS} steps; compared: {', '.join(undisturbed)}"
    resumed = unlike(undisturbed, checkpoint(folder / "killed"))
    if resumed:
        place, most = max(resumed.items(), key=lambda pair: pair[1])
        note = f"by up to {most:.1e} ({place}); {note}"
    if (folder / "again").is_dir():
        repeated = unlike(undisturbed, checkpoint(folder / "again"))
        most = max(repeated.values(), default=0.0)
        note += f"; two trainings that nobody killed differ in {len(repeated)}, by up to {most:.1e}"
    value = f"{len(resumed)} tensors differ" if resumed else "bit for bit the same"
    rows.add(name, value, note=note, details={"differences": len(resumed)})


def unlike(undisturbed: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """What is not the same, and by how much."""
    return dict(differences(undisturbed, {key: other.get(key) for key in undisturbed}))


if __name__ == "__main__":
    run_part(measure)
