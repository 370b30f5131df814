"""Trained runs of the tasks that are no classification, on pictures whose brightness is the answer."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from without_figures import without_figures

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


@pytest.fixture(scope="module")
def table_run(
    tmp_path_factory: pytest.TempPathFactory, engine: str, made_once: dict[tuple[str, ...], Any]
) -> Callable[[str], RunFolder]:
    """`table_run("regression")`: a run on such pictures, made once a task and engine. Look, don't touch."""

    def run(task: str) -> RunFolder:
        from mlstack.commands.train import train

        if (task, engine) not in made_once:
            folder = tmp_path_factory.mktemp(task)
            table = write_pictures(folder, task)
            config = Config(
                model=ModelConfig(name="tiny", target=f"tiny_networks_{engine}:tiny", learning_rate=0.02),
                data=DataConfig(name="image_table", table=str(table), task=task, batch_size=16),
                trainer=TrainerConfig(engine=engine, accelerator="cpu", max_epochs=12, progress_bar=False),
                tracker="none",
                output_dir=str(folder / "outputs"),
            )
            with without_figures():
                train(config)
            made_once[task, engine] = find_run("latest", output_dir=folder / "outputs")
        found: RunFolder = made_once[task, engine]
        return found

    return run


PHOTOGRAPHS = 24
CROPPED = 24  # pixels: of pictures that are decoded to 27


@pytest.fixture(scope="session")
def colour_run(tmp_path_factory: pytest.TempPathFactory, engine: str) -> RunFolder:
    """A run on colour pictures of which evaluation sees the middle, too short to be sure. Look, don't touch."""
    from mlstack.commands.train import train

    folder = tmp_path_factory.mktemp("colours")
    draw = np.random.default_rng(0)
    for number in range(PHOTOGRAPHS):
        name = ("red", "green", "blue")[number % 3]
        pixels = draw.integers(0, 200, (30, 40, 3), np.uint8)
        pixels[..., number % 3] += 55
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    config = Config(
        model=ModelConfig(name="tiny", target=f"tiny_networks_{engine}:tiny", learning_rate=0.002),
        data=DataConfig(name="image_folder", path=str(folder / "photos"), image_size=CROPPED, batch_size=8),
        trainer=TrainerConfig(engine=engine, accelerator="cpu", max_epochs=1, progress_bar=False),
        tracker="none",
        output_dir=str(folder / "outputs"),
    )
    with without_figures():
        train(config)
    return find_run("latest", output_dir=folder / "outputs")


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[RunFolder], Path]:
    """`bundle_of(run)`: its network in a bundle, probabilities left as they are. Look, don't touch."""
    import onnx

    from mlstack.bundle.folder import seal, write_bundle
    from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput
    from mlstack.engines import create_engine
    from mlstack.export.graph import complete

    made: dict[RunFolder, Path] = {}

    def write(staging: Path, run: RunFolder) -> None:
        config = run.read_config()
        data, size, channels = config.data, config.data.image_size, config.data.channels
        assert size and channels and data.mean and data.std and data.decoded_size
        create_engine(config.trainer.engine).export_onnx(config, staging / "core.onnx", run=run)
        core = onnx.load(staging / "core.onnx")
        (staging / "core.onnx").unlink()
        model = complete(core, mean=data.mean, std=data.std, channels=channels, height=size, width=size, task=data.task)
        onnx.save(model, staging / "model.onnx")
        output, features = model.graph.output
        seal(
            staging,
            Metadata(
                name="bundled",
                version="1",
                created_at="2026-11-02T10:00:00+00:00",
                task=data.task,
                input=PictureInput(size, size, channels, data.resize, data.decoded_size),
                output=output.name,
                classes=tuple(data.classes or ()),
                features=features.type.tensor_type.shape.dim[1].dim_value,
                batch=None,
                models=(ModelFile("model.onnx", "fp32", 0, {}, {}),),
                default="fp32",
                temperature=None,
                calibration={},
                parity={},
                data={},
                source={},
                versions={},
                files={},
            ),
        )

    def bundle(run: RunFolder) -> Path:
        if run not in made:
            folder = tmp_path_factory.mktemp("bundled") / "bundle"
            with write_bundle(folder) as staging:
                write(staging, run)
            made[run] = folder
        return made[run]

    return bundle
