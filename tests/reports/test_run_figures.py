from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlstack.datasets.base import Split
from mlstack.datasets.images import ArrayImages
from mlstack.errors import OutputError
from mlstack.reports.run_figures import draw_split


@pytest.fixture
def split() -> Split:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    return Split(ArrayImages(pictures), np.array([0, 1, 0, 1, 0, 1]), [f"test/{index}" for index in range(6)])


def test_a_split_has_four_figures(split: Split, tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])  # of the first four
    files = draw_split(tmp_path, split, probabilities, ["cat", "dog"], name="test", suffix="_test")
    names = ["confusion_matrix", "class_scores", "sample_predictions", "worst_mistakes"]
    assert [file.name for file in files] == [f"{name}_test.png" for name in names]
    for file in files:
        with Image.open(file) as image:
            assert image.format == "PNG"


def test_a_split_without_mistakes_has_them_too(split: Split, tmp_path: Path) -> None:
    probabilities = np.eye(2)[split.labels]
    assert len(draw_split(tmp_path, split, probabilities, ["cat", "dog"], name="val")) == 4


def test_a_folder_that_cannot_be_written_is_one_message(split: Split, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="can't be written"):
        draw_split(tmp_path / "figures", split, np.eye(2)[split.labels], ["cat", "dog"], name="val")
