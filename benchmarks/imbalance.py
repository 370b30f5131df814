"""What helps against an imbalance: `python benchmarks/imbalance.py`, 6 minutes.

recipe=imbalanced, on one thread: Fashion-MNIST, where every second class (Trouser, Dress, Sandal, Sneaker, Ankle boot)
keeps a twentieth of its training images. Cross-entropy on what is there, focal loss, and balanced sampling take turns,
three seeds each; the number of steps is the same. Prints the macro F1 on the test split, all of whose classes are
equally frequent, and the mean recall of the rare classes. There is no bar.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from statistics import mean, stdev

import torch

from mlstack.commands.train import complete
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.lightning.engine import LightningEngine
from mlstack.metrics import confusion_matrix, per_class_metrics
from mlstack.runs import create_run

SEEDS = (0, 1, 2)
WAYS = {
    "as it is": ("data.balance=false",),
    "focal loss, gamma 2": ("data.balance=false", "model.loss=focal", "model.loss_args={gamma: 2}"),
    "balanced sampling": ("data.balance=true",),
}


def main() -> None:
    """Train each way with each seed in turns; print mean ± deviation."""
    torch.set_num_threads(1)
    dataset = load_dataset(compose(Config, ["recipe=imbalanced"]).data)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            for name, overrides in WAYS.items():
                found[name].append(scores_of(dataset, folder, f"seed={seed}", *overrides))
                print(f"{name}, seed {seed}: macro F1 {found[name][-1][0]:.4f}", flush=True)
    print(f"\n{'':<22}{'macro F1 on test':>20}{'recall, rare classes':>24}")
    for name, rows in found.items():
        columns = [f"{mean(column):.4f} ± {stdev(column):.4f}" for column in zip(*rows, strict=True)]
        print(f"{name:<22}{columns[0]:>20}{columns[1]:>24}")


def scores_of(dataset: Dataset, folder: str, *overrides: str) -> tuple[float, float]:
    """Train once, in silence: macro F1 on test, and the mean recall of the classes that were cut."""
    settings = ("trainer.accelerator=cpu", "trainer.progress_bar=false", "tracker=none", f"output_dir={folder}")
    config = complete(compose(Config, ["recipe=imbalanced", *settings, *overrides]), dataset)
    run, engine = create_run(config), LightningEngine()
    with contextlib.redirect_stdout(io.StringIO()):
        engine.fit(config, dataset, run)
    answers = engine.predict(config, BatchLoader(dataset.splits["test"], batch_size=500, image_size=28), run=run)
    matrix = confusion_matrix(answers.labels, answers.outputs.argmax(axis=1), len(dataset.classes))
    scores = per_class_metrics(matrix)
    assert config.data.class_shares is not None
    cut = [score for score, share in zip(scores, config.data.class_shares, strict=True) if share < 1]
    return mean(score.f1 for score in scores), mean(score.recall for score in cut)


if __name__ == "__main__":
    main()
