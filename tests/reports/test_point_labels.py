from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from mlstack.reports import style
from mlstack.reports.point_labels import boxes_around, label_points, offers, overlaps

SIZE = 8.0


@pytest.fixture
def axes() -> Axes:
    """Five inches by five, both axes from 0 to 1."""
    made = style.new_figure(5, 5).add_axes((0, 0, 1, 1))
    made.set_xlim(0, 1)
    made.set_ylim(0, 1)
    return made


def shift(axes: Axes, *points: tuple[float, float], obstacles: tuple[tuple[float, float], ...] = ()) -> list[Text]:
    names = [f"name {number}" for number in range(len(points))]
    return list(
        label_points(axes, points, names, ["k"] * len(points), obstacles=obstacles, size=SIZE, families=["DejaVu Sans"])
    )


def test_a_name_may_lie_around_its_point_first_near_then_farther_off() -> None:
    shifts, distances = offers(20, 10, 2.0)  # pixels; two pixels a point of print
    assert shifts.shape == (6 * 12, 2)
    assert distances[[0, 11, 12, 24, 36, 48, 60, 71]].tolist() == [7, 7, 14, 24, 36, 50, 66, 66]
    assert shifts[:4] == pytest.approx(np.array([[24, 0], [-24, 0], [0, 19], [0, -19]]))
    assert shifts[12:14] == pytest.approx(np.array([[38, 0], [-38, 0]]))
    assert np.linalg.norm(shifts[4] / (24, 19)) == pytest.approx(1)  # aslant, on an ellipse


def test_boxes_lie_around_their_centres_and_overlap_in_square_pixels() -> None:
    assert boxes_around(np.array([[10.0, 20.0], [0.0, 0.0]]), 4, 6).tolist() == [[8, 17, 12, 23], [-2, -3, 2, 3]]
    boxes = np.array([[0.0, 0.0, 4.0, 4.0], [20.0, 20.0, 21.0, 21.0]])
    others = np.array([[2.0, 1.0, 6.0, 6.0], [3.0, 0.0, 5.0, 1.0], [10.0, 0.0, 11.0, 4.0], [4.0, 0.0, 8.0, 4.0]])
    assert overlaps(boxes, others).tolist() == [2 * 3 + 1, 0]


def test_a_name_with_room_stands_to_the_right_of_its_point_without_a_line(axes: Axes) -> None:
    [note] = shift(axes, (0.5, 0.5))
    box = note.get_window_extent()
    scale = axes.figure.dpi / 72
    x, y = axes.transData.transform((0.5, 0.5))
    assert Text.get_window_extent(note).x0 - x == pytest.approx(7 * scale, abs=1)
    assert (box.y0 + box.y1) / 2 == pytest.approx(y, abs=1)
    assert not note.arrow_patch.get_visible()  # type: ignore[attr-defined]


def test_a_name_at_the_right_edge_stands_to_the_left(axes: Axes) -> None:
    [note] = shift(axes, (0.99, 0.5))
    assert Text.get_window_extent(note).x1 < axes.transData.transform((0.99, 0.5))[0]


def test_a_name_that_finds_no_room_near_its_point_gets_a_line_to_it(axes: Axes) -> None:
    crowd = tuple((0.5 + 0.02 * row, 0.5 + 0.02 * column) for row in range(-8, 9) for column in range(-4, 5))
    [note] = shift(axes, (0.5, 0.5), obstacles=crowd)
    assert note.arrow_patch.get_visible()  # type: ignore[attr-defined]


def test_names_of_points_in_one_place_do_not_cover_each_other(axes: Axes) -> None:
    notes = shift(axes, *[(0.5, 0.5)] * 4)
    boxes = [Text.get_window_extent(note) for note in notes]
    assert not any(one.overlaps(other) for row, one in enumerate(boxes) for other in boxes[row + 1 :])
