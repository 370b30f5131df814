from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mlstack.errors import OutputError
from mlstack.reports.pictures import draw_file_predictions, draw_predictions, worst_mistakes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reports.conftest import Drawn

PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
LABELS = np.array([0, 0, 1, 1])
RED, GREEN = (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)


def pictures(number: int, *, side: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, side, side, channels), dtype=np.uint8)


def has_colour(path: Path, colour: tuple[int, int, int]) -> bool:
    with Image.open(path) as image:
        return bool((np.asarray(image.convert("RGB")) == colour).all(axis=-1).any())


def test_the_worst_mistakes_are_the_most_confident_ones() -> None:
    assert worst_mistakes(PROBABILITIES, LABELS).tolist() == [1, 2]
    assert worst_mistakes(PROBABILITIES, LABELS, 1).tolist() == [1]


def test_there_are_no_worst_mistakes_when_all_is_right(tmp_path: Path, drawn: Drawn) -> None:
    chosen = worst_mistakes(PROBABILITIES, PROBABILITIES.argmax(axis=1))
    assert chosen.tolist() == []
    images, probabilities = pictures(4)[chosen], PROBABILITIES[chosen]
    draw_predictions(images, probabilities, LABELS[chosen], ["cat", "dog"], tmp_path / "none.png")
    assert "There is no picture to show." in drawn.words


@pytest.mark.parametrize("channels", [1, 3])
def test_wrong_predictions_carry_a_sign_a_colour_and_the_truth(channels: int, tmp_path: Path, drawn: Drawn) -> None:
    images = pictures(4, channels=channels)
    path = draw_predictions(images, PROBABILITIES, LABELS, ["cat", "dog"], tmp_path / "samples.png")
    captions = [word for word in drawn.words if word.startswith(("✓ cat", "✓ dog", "✗ cat", "✗ dog"))]
    assert captions == ["✓ cat (90%)", "✗ dog (80%)\ntrue: cat", "✗ cat (60%)\ntrue: dog", "✓ dog (70%)"]
    assert has_colour(path, RED)
    assert has_colour(path, GREEN)


def test_new_files_are_shown_by_name_with_class_and_confidence(tmp_path: Path, drawn: Drawn) -> None:
    files = ["img(1).jpg", "a $b$ name that is really much too long.png"]
    path = draw_file_predictions(
        pictures(2, side=100, channels=3),
        np.array([[1.0, 0.0], [0.486, 0.514]]),
        files,
        ["cat", "dog"],
        tmp_path / "p.png",
    )
    assert "cat (100%)\nimg(1).jpg" in drawn.words
    assert "dog (51%)\na $b$ name…o long.png" in drawn.words
    assert not has_colour(path, RED)


def test_of_many_pictures_the_first_forty_are_shown(tmp_path: Path, drawn: Drawn) -> None:
    names = [f"{index}.png" for index in range(50)]
    draw_file_predictions(pictures(50), np.ones((50, 1)), names, ["cat"], tmp_path / "p.png")
    assert any(word.startswith("the first 40 of 50") for word in drawn.words)
    assert any("39.png" in word for word in drawn.words)
    assert not any("40.png" in word for word in drawn.words)


def test_chinese_names_are_drawn_in_a_font_that_has_them(
    tmp_path: Path, drawn: Drawn, make_font: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    font = make_font("Two Animals", "猫狗")
    monkeypatch.setattr("mlstack.reports.fonts._installed", lambda: (font,))
    draw_predictions(pictures(4), PROBABILITIES, LABELS, ["猫", "狗"], tmp_path / "samples.png")
    assert "✓ 猫 (90%)" in drawn.words
    assert drawn.families() == {("DejaVu Sans", "Two Animals")}


def test_chinese_names_without_a_font_become_class_numbers(
    tmp_path: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlstack.reports.fonts._installed", lambda: ())
    draw_predictions(pictures(4), PROBABILITIES, LABELS, ["猫", "狗"], tmp_path / "samples.png")
    assert "✗ class 1 (80%)\ntrue: class 0" in drawn.words  # and no warning of a missing glyph, which is an error here


def test_file_names_without_a_font_become_the_place_of_the_file(
    tmp_path: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlstack.reports.fonts._installed", lambda: ())
    draw_file_predictions(pictures(2), np.ones((2, 1)), ["a.jpg", "照片.jpg"], ["cat"], tmp_path / "p.png")
    assert {"cat (100%)\na.jpg", "cat (100%)\nfile 2"} <= set(drawn.words)


def test_a_network_that_diverged_still_gets_its_pictures(tmp_path: Path, drawn: Drawn) -> None:
    probabilities = np.full((4, 2), np.nan)
    chosen = worst_mistakes(probabilities, LABELS)
    draw_predictions(pictures(4)[chosen], probabilities[chosen], LABELS[chosen], ["cat", "dog"], tmp_path / "p.png")
    assert "✗ cat (nan%)\ntrue: dog" in drawn.words


def test_a_grid_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        draw_file_predictions(pictures(1), np.ones((1, 1)), ["a"], ["cat"], tmp_path / "file" / "grid.png")
