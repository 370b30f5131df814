from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mlstack.errors import OutputError
from mlstack.reports.confusion_matrix import _pool, draw_confusion_matrix

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn


def names(number: int) -> list[str]:
    return [f"kind {index}" for index in range(number)]


def test_two_classes_show_names_and_counts(tmp_path: Path, drawn: Drawn) -> None:
    draw_confusion_matrix(np.array([[860, 40], [1500, 85]]), ["no", "yes"], tmp_path / "matrix.png", title="test")
    assert {"test", "no", "yes", "860", "40", "1,500", "85", "true class", "predicted class"} <= set(drawn.words)
    assert "945 of 2,485 pictures are right (38.03%)" in drawn.words


@pytest.mark.parametrize(("number", "counts", "named", "listed"), [
    (1, True, True, False), (10, True, True, False), (20, True, True, False), (30, False, True, False),
    (100, False, False, True), (401, False, False, True),
])  # fmt: skip
def test_what_is_written_fits_the_number_of_classes(
    number: int, counts: bool, named: bool, listed: bool, tmp_path: Path, drawn: Drawn
) -> None:
    matrix = np.eye(number, dtype=np.int64) * 777
    matrix[0, -1] += 55
    path = draw_confusion_matrix(matrix, names(number), tmp_path / "matrix.png")
    assert ("777" in drawn.words) == (counts and number > 1)
    assert ("kind 0" in drawn.words) == named
    assert (f"kind 0 → kind {number - 1}" in drawn.words) == listed
    with Image.open(path) as image:
        assert max(image.size) < 2000


def test_the_most_frequent_confusions_come_first_and_zero_counts_not_at_all(tmp_path: Path, drawn: Drawn) -> None:
    matrix = np.eye(50, dtype=np.int64)
    matrix[3, 4], matrix[8, 7] = 5, 1200
    draw_confusion_matrix(matrix, names(50), tmp_path / "matrix.png")
    assert [word for word in drawn.words if "kind" in word] == ["kind 8 → kind 7", "kind 3 → kind 4"]
    assert "1,200 ×" in drawn.words


def test_many_classes_without_a_mistake_list_none(tmp_path: Path, drawn: Drawn) -> None:
    draw_confusion_matrix(np.eye(50, dtype=np.int64), names(50), tmp_path / "matrix.png")
    assert "none" in drawn.words


def test_classes_without_pictures_are_counted(tmp_path: Path, drawn: Drawn) -> None:
    draw_confusion_matrix(np.diag([3, 0, 0]), names(3), tmp_path / "matrix.png")
    assert "3 of 3 pictures are right (100.00%); 2 classes have no picture" in drawn.words


def test_a_single_confusion_survives_the_pooling_of_many_classes() -> None:
    shares = np.zeros((7, 7))
    shares[5, 1] = 0.25
    pooled = _pool(shares, 3)
    assert pooled.shape == (3, 3)
    assert pooled[1, 0] == 0.25
    assert pooled.sum() == 0.25


def test_names_are_not_read_as_formulas_and_long_ones_are_shortened(tmp_path: Path, drawn: Drawn) -> None:
    draw_confusion_matrix(np.eye(2, dtype=np.int64), [r"$\frac", "a name that is long " * 9], tmp_path / "matrix.png")
    assert r"$\frac" in drawn.words
    assert any(word.startswith("a name") and len(word) == 22 and "…" in word for word in drawn.words)


def test_a_matrix_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        draw_confusion_matrix(np.eye(2, dtype=np.int64), names(2), tmp_path / "file" / "matrix.png")
