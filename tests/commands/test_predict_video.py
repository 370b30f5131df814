from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from whole_bundle import write_whole_bundle

from mlstack.commands import predict_video as module
from mlstack.commands.predict import predict
from mlstack.commands.predict_video import predict_video
from mlstack.config.commands import PredictConfig
from mlstack.datasets.decode import PictureRule
from mlstack.datasets.video import Frame, Video
from mlstack.engines.base import BatchSource
from mlstack.errors import DataError
from mlstack.runs import RunFolder

COUNT = 30


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in which a picture changes, without losses that a codec would add."""
    path = tmp_path_factory.mktemp("film") / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10.0, (48, 40))
    draw = np.random.default_rng(0)
    for _ in range(COUNT):
        small = draw.integers(0, 256, (4, 5, 3), np.uint8)
        writer.write(np.asarray(Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC)))
    writer.release()
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole_bundle(tmp_path_factory.mktemp("films") / "bundle")


def ask(film: Path | str, output: Path, **settings: object) -> list[dict[str, str]]:
    predict(PredictConfig(input=[str(film)], output=str(output), **settings))  # type: ignore[arg-type]
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def as_photographs(film: Path, folder: Path, *, every: int) -> Path:
    """The frames of a film, each in a file of its own."""
    folder.mkdir()
    with Video(str(film)) as video:
        for frame in video.frames(every=every):
            Image.fromarray(frame.pixels).save(folder / f"{frame.number:03}.png")
    return folder


def test_frames_are_answered_as_photographs_are_with_number_and_seconds(
    film: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ask(film, tmp_path / "film.csv", bundle=str(bundle), every=2, batch_size=2)
    shown = capsys.readouterr().out
    assert list(rows[0])[:5] == ["file", "frame", "seconds", "class", "confidence"]
    assert [int(row["frame"]) for row in rows] == list(range(0, COUNT, 2))
    assert [float(row["seconds"]) for row in rows] == pytest.approx(np.arange(0, COUNT, 2) / 10)
    assert {row["file"] for row in rows} == {str(film)}
    twins = ask(as_photographs(film, tmp_path / "frames", every=2), tmp_path / "frames.csv", bundle=str(bundle))
    keep = ("class", "confidence", "class_2", "confidence_2")
    for row, twin in zip(rows, twins, strict=True):
        assert [row[name] for name in keep] == [twin[name] for name in keep]
    with Image.open(tmp_path / "film.png") as grid:
        assert grid.format == "PNG"
    assert f"{film}, frame 18, 1.8 s" in shown
    assert "frame 20" not in shown
    assert f"written: {tmp_path / 'film.csv'}, 15 frames (the first 10 of 15 shown)" in shown


def test_the_json_of_a_film_says_the_same(film: Path, bundle: Path, tmp_path: Path) -> None:
    table = ask(film, tmp_path / "film.csv", bundle=str(bundle), max_frames=5)
    settings = PredictConfig(
        bundle=str(bundle), input=[str(film)], output=str(tmp_path / "film.json"), max_frames=5, batch_size=1
    )
    predict(settings)
    rows = json.loads((tmp_path / "film.json").read_text())
    assert [(row["frame"], row["seconds"], row["class"]) for row in rows] == [
        (int(line["frame"]), float(line["seconds"]), line["class"]) for line in table
    ]
    assert len(rows) == 5
    assert list(rows[0]) == ["file", "frame", "seconds", "class", "index", "confidence", "probabilities"]


@pytest.mark.framework
def test_a_run_is_asked_about_a_film_too(
    colour_run: RunFolder, bundle_of: Callable[[RunFolder], Path], film: Path, tmp_path: Path
) -> None:
    rows = ask(film, tmp_path / "run.csv", run=str(colour_run.path), batch_size=3)  # three groups
    twins = ask(film, tmp_path / "bundle.csv", bundle=str(bundle_of(colour_run)))
    assert len(rows) == COUNT
    for row, twin in zip(rows, twins, strict=True):
        assert row["class"] == twin["class"]
        assert float(row["confidence"]) == pytest.approx(float(twin["confidence"]), abs=1e-4)


class CountingAnswerer:
    """Answers 1.0 for the first class, notes how many pictures it gets, and may be interrupted."""

    task = "classification"
    names = ("yes", "no")
    rule = PictureRule(8, 9, 3, "crop")

    def __init__(self, *, interrupted_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.interrupted_at = interrupted_at

    def outputs(self, source: BatchSource) -> NDArray[np.float32]:
        if len(self.asked) == self.interrupted_at:
            raise KeyboardInterrupt
        batches = [source.batch(0, step).images for step in range(len(source))]
        assert all(batch.shape[1:] == (8, 8, 3) for batch in batches)
        self.asked.append(sum(map(len, batches)))
        return np.tile(np.array([1, 0], np.float32), (self.asked[-1], 1))


def settings(tmp_path: Path, **more: object) -> PredictConfig:
    return PredictConfig(input=["film"], output=str(tmp_path / "table.csv"), **more)  # type: ignore[arg-type]


def run(config: PredictConfig, model: CountingAnswerer, video: Video, tmp_path: Path) -> list[str]:
    """The table's lines, without its header."""
    output, grid = Path(config.output), tmp_path / "grid.png"
    predict_video(config, model, video, output=output, grid=grid)
    assert grid.is_file()
    return output.read_text().splitlines()[1:]


def test_no_more_than_one_group_of_frames_is_held(film: Path, tmp_path: Path) -> None:
    model = CountingAnswerer()
    with Video(str(film)) as video:
        assert len(run(settings(tmp_path, batch_size=3), model, video, tmp_path)) == COUNT
    assert model.asked == [12, 12, 6]


def test_ctrl_c_during_a_film_keeps_what_was_answered(film: Path, tmp_path: Path) -> None:
    config = settings(tmp_path, batch_size=2)
    with Video(str(film)) as video, pytest.raises(KeyboardInterrupt):
        run(config, CountingAnswerer(interrupted_at=2), video, tmp_path)
    assert len(Path(config.output).read_text().splitlines()) == 1 + 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "table.csv"]


def test_ctrl_c_before_the_first_answer_writes_nothing(film: Path, tmp_path: Path) -> None:
    with Video(str(film)) as video, pytest.raises(KeyboardInterrupt):
        run(settings(tmp_path), CountingAnswerer(interrupted_at=0), video, tmp_path)
    assert not list(tmp_path.iterdir())


class EndlessCamera:
    """A camera that somebody switches off by Ctrl-C after some frames."""

    name, is_camera, announced, cut_short, seen = "camera:0", True, None, False, 0

    def __init__(self, frames: int) -> None:
        self.count = frames

    def frames(self, *, every: int = 1, most: int | None = None) -> Iterator[Frame]:
        for number in range(self.count):
            yield Frame(number, number / 30, np.full((20, 30, 3), number, np.uint8))
        raise KeyboardInterrupt


def test_a_camera_is_answered_every_second_until_ctrl_c_which_is_its_usual_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LIVELY", 0.0)  # each frame by itself
    model, camera = CountingAnswerer(), EndlessCamera(50)
    lines = run(settings(tmp_path), model, camera, tmp_path)  # type: ignore[arg-type]
    assert (len(lines), model.asked) == (50, [1] * 50)
    assert lines[40].startswith("camera:0,40,1.333,yes,")
    assert "camera:0, frame 49, 1.6 s" in capsys.readouterr().out


def test_a_film_that_shows_nothing_ends_before_a_model_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(DataError, match="shows no frame"):
        ask(tmp_path / "broken.mp4", tmp_path / "out" / "table.csv", bundle=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="not the only input"):
        predict(PredictConfig(input=["a.jpg", "film.mp4"], output=str(tmp_path / "out" / "table.csv")))
    assert not (tmp_path / "out").exists()
