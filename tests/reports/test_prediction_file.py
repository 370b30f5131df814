from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlstack.errors import OutputError
from mlstack.reports.prediction_file import PredictionFile
from mlstack.reports.prediction_table import Row, as_csv, as_json, frame_rows, prediction_rows

OUTPUTS = np.array([[0.9, 0.75], [0.25, 0.375], [0.5, 0.625]], np.float32)


@pytest.fixture(params=["classification", "multilabel", "regression"])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows_of(task: str) -> list[Row]:
    return frame_rows(prediction_rows(task, ["film.mp4"] * 3, OUTPUTS, ["猫", "dog"], k=2), [0, 2, 4], [0, 0.08, 1 / 6])


@pytest.mark.parametrize("name", ["table.csv", "table.JSON"])
def test_a_file_that_grew_is_the_one_that_is_written_at_once(name: str, task: str, tmp_path: Path) -> None:
    rows, path = rows_of(task), tmp_path / "new" / name
    with PredictionFile(path, task) as file:
        file.append(rows[:2])
        assert not path.exists()
        file.append(rows[2:])
    assert file.rows == 3
    assert path.read_text(encoding="utf-8") == (as_csv(task, rows) if name.endswith("csv") else as_json(rows))
    assert [one.name for one in path.parent.iterdir()] == [name]


def test_after_a_mishap_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with PredictionFile(path, "regression") as file:
            file.append(rows_of("regression"))
            raise OSError("a mishap")

    with pytest.raises(OSError, match="a mishap"):
        fail()
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["table.csv"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="can't be written"),
        PredictionFile(tmp_path / "file" / "t.csv", "regression") as file,
    ):
        file.append(rows_of("regression"))


def test_frames_are_told_to_the_millisecond(task: str) -> None:
    header, *lines = as_csv(task, rows_of(task)).splitlines()
    assert header.startswith("file,frame,seconds,")
    assert [line.split(",")[1:3] for line in lines] == [["0", "0"], ["2", "0.08"], ["4", "0.167"]]
