from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlstack.reports.label_pictures import draw_file_labels, draw_label_predictions, name_lines, worst_label_mistakes
from mlstack.reports.text_width import display_width

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn

NAMES = ["cat", "dog", "bird"]
PROBABILITIES = np.array([[0.9, 0.2, 0.1], [0.6, 0.7, 0.1], [0.1, 0.4, 0.2], [0.1, 0.01, 0.4]], np.float32)
LABELS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]], np.float32)


def pictures(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 8, 8, 3), dtype=np.uint8)


def test_the_worst_mistakes_are_the_surest_ones_and_right_pictures_are_none() -> None:
    assert worst_label_mistakes(PROBABILITIES, LABELS).tolist() == [3, 1]
    assert worst_label_mistakes(PROBABILITIES, LABELS, 1).tolist() == [3]
    assert worst_label_mistakes(LABELS, LABELS).tolist() == []


def test_pictures_with_a_wrong_or_missing_label_carry_a_sign_and_the_truth(tmp_path: Path, drawn: Drawn) -> None:
    draw_label_predictions(pictures(4), PROBABILITIES, LABELS, NAMES, tmp_path / "samples.png")
    captions = [word for word in drawn.words if word.startswith(("✓ ", "✗ ")) and "all" not in word]
    assert captions == ["✓ cat", "✗ cat, dog\ntrue: dog", "✓ none", "✗ none\ntrue: dog, bird"]


def test_new_files_list_their_labels_from_the_surest(tmp_path: Path, drawn: Drawn) -> None:
    draw_file_labels(pictures(4), PROBABILITIES, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], NAMES, tmp_path / "p.png")
    assert {"cat (90%)\na.jpg", "dog (70%)\ncat (60%)\nb.jpg", "none\nc.jpg"} <= set(drawn.words)


def test_of_many_labels_three_are_listed_and_the_rest_is_counted(tmp_path: Path, drawn: Drawn) -> None:
    names = [f"label {index}" for index in range(10)]
    draw_file_labels(pictures(1), np.linspace(0.5, 0.95, 10)[None], ["a.jpg"], names, tmp_path / "p.png")
    assert "label 9 (95%)\nlabel 8 (90%)\nlabel 7 (85%)\n+7 more\na.jpg" in drawn.words


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        ([], ("✗ none",)),
        (["cat", "dog"], ("✗ cat, dog",)),
        (["elephant", "crocodile", "ant"], ("✗ elephant,", "crocodile, ant")),
        (["elephant", "crocodile", "hippopotamus", "ant"], ("✗ elephant,", "crocodile, +2")),
        (["a name that is much too long"], ("✗ a name…o long",)),
    ],
)
def test_names_fill_two_lines_and_the_rest_is_counted(names: list[str], lines: tuple[str, ...]) -> None:
    assert name_lines("✗", names, width=20) == lines


@pytest.mark.parametrize("length", [1, 4, 9, 30])
@pytest.mark.parametrize("opening", ["✗", "true:"])
def test_no_line_is_wider_than_it_may_be(opening: str, length: int) -> None:
    for count in range(60):
        lines = name_lines(opening, ["猫" * length] * count)
        assert len(lines) <= 2
        assert all(display_width(line) <= 21 for line in lines), lines


def test_names_without_a_font_become_label_numbers(
    tmp_path: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlstack.reports.fonts._installed", lambda: ())
    draw_label_predictions(pictures(4), PROBABILITIES, LABELS, ["猫", "狗", "bird"], tmp_path / "samples.png")
    assert "✗ label 0, label 1\ntrue: label 1" in drawn.words


def test_a_network_that_diverged_still_gets_its_pictures(tmp_path: Path, drawn: Drawn) -> None:
    lost = np.full_like(PROBABILITIES, np.nan)
    chosen = worst_label_mistakes(lost, LABELS)
    draw_label_predictions(pictures(4)[chosen], lost[chosen], LABELS[chosen], NAMES, tmp_path / "p.png")
    assert {"✗ none\ntrue: cat", "✗ none\ntrue: dog"} <= set(drawn.words)
