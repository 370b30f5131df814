from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlstack.commands.answering import rule_of
from mlstack.commands.predict import PictureFiles, predict
from mlstack.config.commands import PredictConfig
from mlstack.config.trainer import ENGINES
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.errors import DataError, OutputError, RunError
from mlstack.runs import RunFolder

pytestmark = pytest.mark.framework

# Where the engine makes no difference, the first one that is there is enough.
with_one_engine = pytest.mark.parametrize("engine", ENGINES[:1], indirect=True)


@pytest.fixture
def photos(trained: RunFolder, tmp_path: Path) -> Path:
    """Five digits of the test split as files, enlarged."""
    test = load_dataset(trained.read_config().data).splits["test"]
    folder = tmp_path / "photos"
    folder.mkdir()
    for row, picture in enumerate(test.images.read(np.arange(5))):
        Image.fromarray(picture[:, :, 0]).resize((64, 64)).save(folder / f"{row}_is_{test.labels[row]}.png")
    return folder


def ask(
    trained: RunFolder, tmp_path: Path, *inputs: object, output: str = "out/predictions.csv", **more: object
) -> Path:
    path = tmp_path / output
    settings = {"run": str(trained.path), "input": [str(one) for one in inputs], "output": str(path), **more}
    predict(PredictConfig(**settings))  # type: ignore[arg-type]
    return path


def test_the_csv_says_what_the_network_says(trained: RunFolder, photos: Path, tmp_path: Path) -> None:
    table = ask(trained, tmp_path, photos, top_k=3, batch_size=2)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "class", "confidence", "class_2", "confidence_2", "class_3", "confidence_3"]
    files = sorted(photos.iterdir())
    assert [row["file"] for row in rows] == [str(file) for file in files]
    config = trained.read_config()
    source = PictureFiles(files, rule_of(config.data), batch_size=5)
    answers = create_engine(config.trainer.engine).predict(config, source, run=trained)
    for row, likeliest, probabilities in zip(rows, answers.predicted, answers.outputs, strict=True):
        assert row["class"] == str(likeliest)
        assert float(row["confidence"]) == pytest.approx(float(probabilities.max()), abs=1e-5)
        assert float(row["confidence"]) >= float(row["confidence_2"]) >= float(row["confidence_3"])
        assert float(row["confidence_2"]) == pytest.approx(float(np.sort(probabilities)[-2]), abs=1e-5)


def test_the_json_says_the_same(trained: RunFolder, photos: Path, tmp_path: Path) -> None:
    rows = json.loads(ask(trained, tmp_path, photos, output="predictions.json").read_text())
    with ask(trained, tmp_path, photos).open(newline="") as file:
        table = list(csv.DictReader(file))
    for row, line in zip(rows, table, strict=True):
        assert (row["file"], row["class"]) == (line["file"], line["class"])
        assert row["index"] == int(row["class"])
        assert row["confidence"] == pytest.approx(float(line["confidence"]), abs=1e-5)
        assert next(iter(row["probabilities"])) == row["class"]
        assert len(row["probabilities"]) == 5


@with_one_engine
def test_the_grid_is_a_picture_beside_the_table(
    trained: RunFolder, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ask(trained, tmp_path, photos)
    with Image.open(table.with_suffix(".png")) as image:
        assert image.format == "PNG"
    shown = capsys.readouterr().out
    assert f"written: {table}" in shown
    assert shown.count("%") == 5


@with_one_engine
def test_the_grid_goes_where_it_is_told(trained: RunFolder, photos: Path, tmp_path: Path) -> None:
    table = ask(trained, tmp_path, photos, grid=str(tmp_path / "grids" / "digits.png"))
    assert (tmp_path / "grids" / "digits.png").is_file()
    assert not table.with_suffix(".png").exists()


@with_one_engine
def test_a_file_a_folder_and_a_pattern_are_taken_together_each_picture_once(
    trained: RunFolder, photos: Path, tmp_path: Path
) -> None:
    first = sorted(photos.iterdir())[0]
    table = ask(trained, tmp_path, first, photos / "1_*.png", photos)
    with table.open(newline="") as file:
        assert [Path(row["file"]).name[0] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "4"]


@with_one_engine
def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_written(
    trained: RunFolder, photos: Path, tmp_path: Path
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    (photos / "empty.jpg").touch()
    with pytest.raises(DataError, match="2 of 7 pictures can't be read; nothing was written") as caught:
        ask(trained, tmp_path, photos)
    assert "broken.png: not an image" in str(caught.value)
    assert "empty.jpg" in str(caught.value)
    assert not (tmp_path / "out").exists()


@with_one_engine
def test_of_many_unreadable_pictures_the_first_are_named(trained: RunFolder, photos: Path, tmp_path: Path) -> None:
    for number in range(9):
        (photos / f"broken_{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="9 of 14") as caught:
        ask(trained, tmp_path, photos)
    assert len(str(caught.value).splitlines()) <= 8
    assert "… and 4 more" in str(caught.value)


@with_one_engine
def test_an_input_that_names_no_picture_is_one_message(trained: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image there"):
        ask(trained, tmp_path, tmp_path / "empty")
    with pytest.raises(DataError, match="no such file"):
        ask(trained, tmp_path, tmp_path / "nowhere.jpg")


@with_one_engine
def test_an_output_that_is_a_folder_is_one_message(trained: RunFolder, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match=r"folder\.csv is a folder"):
        ask(trained, tmp_path, photos, output="folder.csv")


@with_one_engine
@pytest.mark.parametrize("settings", [{"output": "file/predictions.csv"}, {"grid": "file/grid.png"}])
def test_an_output_inside_a_file_is_refused_before_the_work_is_done(
    settings: dict[str, str],
    trained: RunFolder,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        ask(trained, tmp_path, photos, **settings)
    assert not (tmp_path / "out").exists()


def half_bright(folder: Path) -> Path:
    """Two pictures: dark on the left and bright on the right, and the other way round."""
    folder.mkdir()
    pixels = np.repeat(np.array([[20] * 4 + [235] * 4], np.uint8), 8, axis=0)
    Image.fromarray(pixels).save(folder / "right.png")
    Image.fromarray(pixels[:, ::-1].copy()).save(folder / "left.png")
    return folder


def test_several_labels_are_told_of_new_pictures(
    table_run: Callable[[str], RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = table_run("multilabel")
    capsys.readouterr()
    table = ask(run, tmp_path, half_bright(tmp_path / "photos"))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "labels", "left", "right side"]
    assert [(Path(row["file"]).name, row["labels"]) for row in rows] == [
        ("left.png", "left"),
        ("right.png", "right side"),
    ]
    assert float(rows[0]["left"]) > 0.5 > float(rows[0]["right side"])
    assert table.with_suffix(".png").is_file()
    assert f"left  {tmp_path / 'photos' / 'left.png'}" in capsys.readouterr().out


def test_numbers_are_told_of_new_pictures_in_their_own_units(
    table_run: Callable[[str], RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = table_run("regression")
    capsys.readouterr()
    photos = half_bright(tmp_path / "photos")
    table = ask(run, tmp_path, photos)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "left in thousands", "right"]
    assert float(rows[0]["left in thousands"]) == pytest.approx(235_000, abs=60_000)
    assert float(rows[1]["right"]) == pytest.approx(235, abs=60)
    assert "left in thousands" in capsys.readouterr().out
    values = json.loads(ask(run, tmp_path, photos, output="predictions.json").read_text())[1]["values"]
    assert values["right"] == pytest.approx(float(rows[1]["right"]), rel=1e-5)


def test_a_run_that_was_moved_still_predicts(trained: RunFolder, photos: Path, tmp_path: Path) -> None:
    moved = RunFolder(Path(shutil.copytree(trained.path, tmp_path / "elsewhere")))
    assert ask(moved, tmp_path, photos).read_text() == ask(trained, tmp_path, photos).read_text()


@with_one_engine
def test_a_run_that_is_not_there_is_one_message(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder there"):
        ask(RunFolder(tmp_path / "nowhere"), tmp_path, photos)
