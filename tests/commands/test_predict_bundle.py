from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from whole_bundle import pictures, write_whole_bundle

from mlstack.bundle.metadata import told_apart
from mlstack.commands.predict import predict
from mlstack.config.commands import PredictConfig
from mlstack.errors import BundleError, DataError, HardwareError
from mlstack.runs import RunFolder

SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"
FRAMEWORKS = {"torch", "torchvision", "pytorch_lightning", "lightning", "paddle", "onnx"}
with_a_framework = pytest.mark.framework

RUN_AND_LIST = """
import runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("MODULES", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def table_of(output: Path, *inputs: Path, **who: object) -> list[dict[str, str]]:
    """Ask, and read the CSV."""
    predict(PredictConfig(input=[str(one) for one in inputs], output=str(output), **who))  # type: ignore[arg-type]
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same(one: list[dict[str, str]], other: list[dict[str, str]], *, within: float) -> None:
    """The same files, classes and labels, and numbers as near as that."""
    assert [list(row) for row in one] == [list(row) for row in other]
    for row, twin in zip(one, other, strict=True):
        for name, cell in row.items():
            if name == "file" or name.startswith(("class", "labels")):
                assert cell == twin[name], name
            else:
                assert float(cell) == pytest.approx(float(twin[name]), abs=within), name


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """One of each kind that people have: turned by EXIF, CMYK, grey, with alpha, palette, 16 bits, wide and high."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    draw = np.random.default_rng(1)
    small = draw.integers(0, 256, (6, 9, 3), np.uint8)
    photograph = Image.fromarray(small).resize((90, 60), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    photograph.save(folder / "turned.jpg", exif=turned, quality=95)
    photograph.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    photograph.convert("L").save(folder / "grey.jpg")
    alpha = photograph.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(alpha.size))
    alpha.save(folder / "alpha.png")
    photograph.quantize(16).save(folder / "palette.png")
    photograph.convert("P").save(folder / "palette.gif")
    Image.fromarray(draw.integers(0, 65536, (50, 40), np.uint16)).save(folder / "deep.png")
    photograph.resize((400, 50)).save(folder / "wide.webp", lossless=True)
    photograph.resize((20, 500)).save(folder / "high.bmp")
    return folder


@with_a_framework
def test_a_bundle_answers_for_photographs_as_its_run_does(
    colour_run: RunFolder, bundle_of: Callable[[RunFolder], Path], photographs: Path, tmp_path: Path
) -> None:
    bundle = bundle_of(colour_run)
    run = table_of(tmp_path / "run.csv", photographs, run=str(colour_run.path))
    assert len(run) == 9
    assert len({row["confidence"] for row in run}) > 6, "they are told apart, so that sameness means something"
    assert_same(table_of(tmp_path / "bundle.csv", photographs, bundle=str(bundle), batch_size=4), run, within=1e-4)
    assert (tmp_path / "bundle.png").read_bytes() == (tmp_path / "run.png").read_bytes()
    predict(PredictConfig(bundle=str(bundle), input=[str(photographs)], output=str(tmp_path / "bundle.json")))
    for row, twin in zip(json.loads((tmp_path / "bundle.json").read_text()), run, strict=True):
        assert (row["class"], f"{row['confidence']:.3f}") == (twin["class"], f"{float(twin['confidence']):.3f}")


@with_a_framework
def test_a_bundle_tells_numbers_in_their_own_units_as_its_run_does(
    table_run: Callable[[str], RunFolder],
    bundle_of: Callable[[RunFolder], Path],
    photographs: Path,
    tmp_path: Path,
) -> None:
    run = table_run("regression")
    tables = [
        table_of(tmp_path / "table.csv", photographs, **who)
        for who in ({"run": str(run.path)}, {"bundle": str(bundle_of(run))})
    ]
    assert_same(*tables, within=5.0)  # of hundreds of thousands


def test_a_bundle_answers_without_a_training_framework(tmp_path: Path) -> None:
    bundle = write_whole_bundle(tmp_path / "outputs" / "digits" / "1" / "bundle", int8_noise=0.01)
    Image.fromarray(pictures(1)[0, :, :, 0]).save(tmp_path / "noise.png")
    words = [sys.executable, "-c", RUN_AND_LIST, str(SCRIPT), "bundle=latest", f"input={tmp_path / 'noise.png'}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    said, _, modules = done.stdout.partition("MODULES")
    assert done.returncode == 0, done.stderr
    assert not FRAMEWORKS & set(modules.split())
    assert "written: predictions.csv" in said
    assert bundle.is_dir()
    assert (tmp_path / "predictions.csv").read_text().splitlines()[0].startswith("file,class,confidence")


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    folder = tmp_path / "noise"
    folder.mkdir()
    for number, picture in enumerate(pictures(3, seed=5)):
        Image.fromarray(picture[:, :, 0]).save(folder / f"{number}.png")
    return folder


def test_the_default_model_answers_in_batches_of_any_size(noise: Path, tmp_path: Path) -> None:
    bundle = write_whole_bundle(tmp_path / "bundle", int8_noise=3.0)
    small = write_whole_bundle(tmp_path / "small", int8_noise=3.0, default="int8")
    fixed = write_whole_bundle(tmp_path / "fixed", batch=2)
    full = table_of(tmp_path / "a.csv", noise, bundle=str(bundle))
    assert table_of(tmp_path / "b.csv", noise, bundle=str(small)) != full
    assert_same(table_of(tmp_path / "c.csv", noise, bundle=str(fixed), batch_size=1), full, within=2e-6)


def test_names_that_come_twice_are_told_apart(noise: Path, tmp_path: Path) -> None:
    assert told_apart(["crane", "cat", "crane"]) == ["crane (0)", "cat", "crane (2)"]
    bundle = write_whole_bundle(tmp_path / "bundle", classes=("crane", "cat", "crane"))
    rows = table_of(tmp_path / "table.csv", noise, bundle=str(bundle))
    assert {rows[0][name] for name in ("class", "class_2", "class_3")} == {"crane (0)", "cat", "crane (2)"}


def test_a_bundle_that_cannot_answer_is_one_line_and_nothing_is_written(noise: Path, tmp_path: Path) -> None:
    bundle = write_whole_bundle(tmp_path / "bundle")
    output = tmp_path / "out" / "table.csv"
    with pytest.raises(HardwareError, match="accelerator=mps"):
        table_of(output, noise, bundle=str(bundle), accelerator="mps")
    with pytest.raises(BundleError, match="no bundle there"):
        table_of(output, noise, bundle=str(noise))
    (noise / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="1 of 4 pictures can't be read"):
        table_of(output, noise, bundle=str(bundle))
    (bundle / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        table_of(output, noise, bundle=str(bundle))
    assert not output.parent.exists()
