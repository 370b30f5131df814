from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mlstack.errors import OutputError
from mlstack.reports import style
from mlstack.reports.confusion_matrix import _pool, _write_counts, draw_confusion_matrix

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


def test_each_cell_stands_at_its_row_and_column_and_dark_ones_have_white_numbers(
    tmp_path: Path, sketched: Drawn
) -> None:
    draw_confusion_matrix(np.array([[75, 25], [74, 26]]), names(2), tmp_path / "matrix.png")
    axes = sketched.figure.axes[0]
    found = {text.get_text(): (text.get_position(), text.get_color()) for text in axes.texts}
    assert found == {
        "75": ((0, 0), "white"), "25": ((1, 0), style.INK), "74": ((0, 1), "white"), "26": ((1, 1), "white"),
    }  # fmt: skip
    [image] = axes.images
    assert image.get_array().tolist() == [[0.75, 0.25], [0.74, 0.26]]  # type: ignore[union-attr]
    assert list(image.get_extent()) == [-0.5, 1.5, 1.5, -0.5]
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 1.5), (1.5, -0.5))


@pytest.mark.parametrize(
    ("number", "size"), [(2, (5.6, 5.1)), (20, (11.6, 11.1)), (21, (7.44, 6.94)), (40, (12.0, 11.5))]
)
def test_a_figure_with_names_grows_with_the_classes(
    number: int, size: tuple[float, float], tmp_path: Path, sketched: Drawn
) -> None:
    draw_confusion_matrix(np.eye(number, dtype=np.int64), names(number), tmp_path / "matrix.png")
    assert sketched.figure.get_size_inches() == pytest.approx(size)
    rotation = sketched.figure.axes[0].get_xticklabels()[0].get_rotation()
    assert rotation == (0 if number == 2 else 45)
    assert len(sketched.figure.axes[0].texts) == (number if number <= 20 else 0)


def test_more_than_200_classes_share_cells_and_the_bar_says_so(tmp_path: Path, sketched: Drawn) -> None:
    for number, cells, end, words in ((200, 200, 199.5, ""), (401, 134, 401.5, " (each cell: the strongest of 3 × 3)")):
        draw_confusion_matrix(np.eye(number, dtype=np.int64), names(number), tmp_path / "matrix.png")
        axes = sketched.figure.axes[0]
        [image] = axes.images
        assert image.get_array().shape == (cells, cells)  # type: ignore[union-attr]
        assert list(image.get_extent()) == [-0.5, end, end, -0.5]
        assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, number - 0.5), (number - 0.5, -0.5))
        assert f"share of the true class{words}" in sketched.words


def test_of_many_confusions_twenty_are_listed_from_top_to_bottom(tmp_path: Path, sketched: Drawn) -> None:
    matrix = np.zeros((50, 50), np.int64)
    matrix[0, 1:] = np.arange(100, 51, -1)
    draw_confusion_matrix(matrix, names(50), tmp_path / "matrix.png")
    listing = sketched.figure.axes[1].texts
    assert [text.get_text() for text in listing[::2]] == [f"{count} ×" for count in range(100, 80, -1)]
    heights = [text.get_position()[1] for text in listing[::2]]
    assert heights == sorted(heights, reverse=True) and heights[-1] > 0 and heights[0] < 1
    assert np.allclose(np.diff(heights), heights[1] - heights[0])  # evenly
    assert heights == [text.get_position()[1] for text in listing[1::2]]
    assert 0 < listing[0].get_position()[0] < listing[1].get_position()[0] < 0.2


def test_numbers_are_small_enough_for_their_cells() -> None:
    for count, cell, size in ((7, 100, 11), (777, 20, 20 * 0.85 / (0.62 * 3)), (1234, 20, 20 * 0.85 / (0.62 * 5))):
        axes = Figure().subplots()
        _write_counts(axes, np.array([[count]]), np.ones((1, 1)), cell=cell)
        assert axes.texts[0].get_fontsize() == pytest.approx(size)
