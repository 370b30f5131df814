"""Trained runs of the tasks that are no classification, on pictures whose brightness is the answer."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlstack.config import Config, DataConfig, ModelConfig, TrainerConfig
from mlstack.runs import RunFolder, find_run

PICTURES = 160
NAMES = {"multilabel": ["left", "right side"], "regression": ["left in thousands", "right"]}


def write_pictures(folder: Path, task: str) -> Path:
    """Grey pictures, 8 × 8, with their left and right half of any brightness, and the table that says so."""
    draw = np.random.default_rng(0)
    halves = draw.integers(0, 256, (PICTURES, 2))
    answers = halves > 127 if task == "multilabel" else halves * [1000, 1]
    for number, (left, right) in enumerate(halves):
        pixels = np.repeat(np.array([[left] * 4 + [right] * 4], np.uint8), 8, axis=0)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    table = folder / "table.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = [[f"{number:03}.png", *map(int, answer)] for number, answer in enumerate(answers)]
        csv.writer(file).writerows([["file", *NAMES[task]], *rows])
    return table


@pytest.fixture(scope="session")
def table_run(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Callable[[str], RunFolder]:
    """`table_run("regression")`: a run on such pictures, made once a task and engine. Look, don't touch."""
    made: dict[str, RunFolder] = {}

    def run(task: str) -> RunFolder:
        from mlstack.commands.train import train

        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            table = write_pictures(folder, task)
            config = Config(
                model=ModelConfig(name="tiny", target=f"tiny_networks_{engine}:tiny", learning_rate=0.02),
                data=DataConfig(name="image_table", table=str(table), task=task, batch_size=16),
                trainer=TrainerConfig(engine=engine, accelerator="cpu", max_epochs=12, progress_bar=False),
                tracker="none",
                output_dir=str(folder / "outputs"),
            )
            train(config)
            made[task] = find_run("latest", output_dir=folder / "outputs")
        return made[task]

    return run
