from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from mlstack.errors import OutputError
from mlstack.reports.saving import save_png
from mlstack.reports.style import new_figure


def test_a_figure_is_written_with_its_size_and_folders_are_made(tmp_path: Path) -> None:
    path = save_png(new_figure(4, 2), tmp_path / "figures" / "学习 (1).png")
    with Image.open(path) as image:
        assert image.size == (600, 300)
    assert [entry.name for entry in path.parent.iterdir()] == ["学习 (1).png"]  # no temporary file is left


def test_a_path_below_a_file_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(OutputError, match=r"the figure .*curves.png can't be written"):
        save_png(new_figure(1, 1), tmp_path / "figures" / "curves.png")


def test_a_failure_leaves_neither_half_a_file_nor_a_changed_old_one(tmp_path: Path) -> None:
    target = tmp_path / "curves.png"
    target.mkdir()
    with pytest.raises(OutputError, match="can't be written"):
        save_png(new_figure(1, 1), target)
    assert list(tmp_path.iterdir()) == [target]


def test_tables_need_no_matplotlib_and_figures_no_pyplot() -> None:
    code = """
import sys
import mlstack.reports.tables, mlstack.reports.headline, mlstack.reports.prediction_table
assert "matplotlib" not in sys.modules, "tables"
import mlstack.reports.class_scores, mlstack.reports.confusion_matrix, mlstack.reports.learning_curves
import mlstack.reports.run_figures
assert "matplotlib.pyplot" not in sys.modules, "pyplot"
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_drawing_leaves_global_settings_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    save_png(new_figure(1, 1), tmp_path / "empty.png")
    assert dict(mpl.rcParams) == before
