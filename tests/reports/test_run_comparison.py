from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure
from PIL import Image

from mlstack.errors import OutputError, RunError
from mlstack.reports import style
from mlstack.reports.metrics_file import read_metrics
from mlstack.reports.run_comparison import Curve, Line, _draw, curve, draw_comparison, line
from mlstack.reports.seed_summary import ComparedRun, group_by_seed

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn


def logged(folder: Path, values: list[float], *, clock: bool = True, **changes: Any) -> ComparedRun:
    """A run that validated every 10 steps, and took 2 CPU seconds for them."""
    folder.mkdir(parents=True)
    rows = ["epoch,step,cpu_seconds,val_accuracy"]
    for epoch, value in enumerate(values):
        step = 10 * (epoch + 1)
        rows += [f"{epoch},{step},{2.0 * (epoch + 1) if clock else ''},", f"{epoch},{step},,{value}"]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    settings = {"trainer.monitor": "val_accuracy", "trainer.mode": "max", "model.name": "tiny", "seed": 0}
    return ComparedRun(folder, {**settings, **{name.replace("__", "."): one for name, one in changes.items()}}, {}, {})


def draw(runs: list[ComparedRun], output: Path) -> Path:
    return draw_comparison(group_by_seed(runs), output)


def legend(drawn: Drawn) -> list[str]:
    shown = drawn.figure.axes[0].get_legend()
    assert shown is not None
    return [text.get_text() for text in shown.get_texts()]


def test_two_runs_are_two_lines_over_cpu_seconds_the_better_one_named_first(tmp_path: Path, drawn: Drawn) -> None:
    runs = [logged(tmp_path / "a", [0.2, 0.4]), logged(tmp_path / "b", [0.3, 0.6], model__name="big")]
    path = draw(runs, tmp_path / "figures" / "comparison.png")
    with Image.open(path) as image:
        assert image.size == (1500, 720)
    assert legend(drawn) == ["name=big", "name=tiny"]
    assert {"CPU seconds of the training process", "val accuracy"} <= set(drawn.words)
    lines = {str(one.get_label()): one for one in drawn.figure.axes[0].lines}
    assert np.asarray(lines["name=big"].get_xdata()).tolist() == [2.0, 4.0]
    assert np.asarray(lines["name=big"].get_ydata()).tolist() == [0.3, 0.6]


def test_where_less_is_better_the_least_is_named_first(tmp_path: Path, drawn: Drawn) -> None:
    runs = [
        logged(tmp_path / name, [value], model__name=name, trainer__mode="min")
        for name, value in (("a", 0.9), ("b", 0.1))
    ]
    draw(runs, tmp_path / "comparison.png")
    assert legend(drawn) == ["name=b", "name=a"]


def test_nine_runs_in_three_groups_are_three_means_with_bands(tmp_path: Path, drawn: Drawn) -> None:
    runs = [
        logged(tmp_path / f"{name}{seed}", [0.1, top + seed / 10], model__name=name, seed=seed)
        for name, top in (("a", 0.5), ("b", 0.6), ("c", 0.7))
        for seed in range(3)
    ]
    draw(runs, tmp_path / "comparison.png")
    assert legend(drawn) == [f"name={name} (3 seeds)" for name in "cba"]
    axes = drawn.figure.axes[0]
    assert len([one for one in axes.collections if isinstance(one, FillBetweenPolyCollection)]) == 3
    assert "band: ± one standard deviation over the seeds" in drawn.words


def test_a_band_has_the_sample_deviation_at_the_steps_that_all_runs_have(tmp_path: Path) -> None:
    runs = [logged(tmp_path / "a", [0.2, 0.4]), logged(tmp_path / "b", [0.4, 0.8, 0.9])]
    curves = [curve(read_metrics(run.path / "metrics.csv"), "val_accuracy", by_seconds=True) for run in runs]
    one = line("both", [found for found in curves if found])
    assert one.values.tolist() == pytest.approx([0.3, 0.6])
    assert one.deviations is not None
    assert one.deviations.tolist() == pytest.approx([0.1414214, 0.2828427])
    assert one.places.tolist() == [2.0, 4.0]


def test_one_epoch_is_a_point_and_over_seeds_a_point_with_its_deviation(tmp_path: Path, drawn: Drawn) -> None:
    runs = [logged(tmp_path / str(seed), [0.5 + seed], seed=seed) for seed in range(2)]
    draw([*runs, logged(tmp_path / "other", [0.5], model__name="other")], tmp_path / "comparison.png")
    axes = drawn.figure.axes[0]
    [bars] = axes.containers
    assert len(legend(drawn)) == 2
    assert bars.get_label().startswith("_")
    assert not [one for one in axes.collections if isinstance(one, FillBetweenPolyCollection)]


def test_a_run_without_cpu_seconds_makes_all_of_them_lines_over_steps(tmp_path: Path, drawn: Drawn) -> None:
    runs = [logged(tmp_path / "a", [0.2, 0.4]), logged(tmp_path / "b", [0.3, 0.6], clock=False, model__name="old")]
    draw(runs, tmp_path / "comparison.png")
    assert "optimizer steps" in drawn.words
    assert "over steps, since not all runs have logged their CPU seconds" in drawn.words


def test_cpu_seconds_are_read_off_between_the_rows_that_have_them(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,cpu_seconds,val_loss\n0,10,1.0,\n0,15,,0.5\n0,20,3.0,\n0,20,,0.25\n0,30,,nan\n")
    found = curve(read_metrics(log), "val_loss", by_seconds=True)
    assert found is not None
    assert (found.places.tolist(), found.values.tolist()) == ([2.0, 3.0], [0.5, 0.25])


def test_a_run_that_never_validated_is_left_out_and_counted(tmp_path: Path, drawn: Drawn) -> None:
    runs = [logged(tmp_path / "a", [0.2]), logged(tmp_path / "b", [float("nan")], model__name="lost")]
    draw(runs, tmp_path / "comparison.png")
    assert legend(drawn) == ["name=tiny"]
    assert "left out: 1 without a val accuracy" in drawn.words


def test_of_many_runs_the_best_have_names(tmp_path: Path, drawn: Drawn) -> None:
    runs = [logged(tmp_path / str(number), [0.01 * number], model__name=f"n{number}") for number in range(13)]
    draw(runs, tmp_path / "comparison.png")
    assert legend(drawn) == [f"name=n{number}" for number in range(12, 2, -1)]
    assert "grey: 3 more, below the best 10" in drawn.words


def test_names_in_any_script_and_dollar_signs_are_drawn_as_they_are(tmp_path: Path, drawn: Drawn) -> None:
    runs = [logged(tmp_path / "a", [0.2]), logged(tmp_path / "b", [0.1], model__name="$x_1$")]
    draw(runs, tmp_path / "comparison.png")
    assert "name=$x_1$" in legend(drawn)
    draw([logged(tmp_path / "残差", [0.2], model__name="残差网络")], tmp_path / "中文.png")
    assert (tmp_path / "中文.png").is_file()


def test_files_that_cannot_be_read_or_written_are_errors_in_words(tmp_path: Path) -> None:
    run = logged(tmp_path / "a", [0.2])
    with pytest.raises(OutputError, match="can't be written"):
        draw([run], run.path / "metrics.csv" / "comparison.png")
    (run.path / "metrics.csv").unlink()
    with pytest.raises(RunError, match="can't be read"):
        draw([run], tmp_path / "comparison.png")


@pytest.mark.parametrize(("count", "marker"), [(40, "o"), (41, "")])
def test_lines_are_marked_up_to_40_validations(count: int, marker: str) -> None:
    axes = Figure().subplots()
    _draw(axes, Line("a", np.arange(float(count)), np.zeros(count), None), 0, "a")
    assert axes.lines[0].get_marker() == marker


def test_ten_lines_have_a_colour_and_dashes_of_their_own_and_further_ones_are_grey() -> None:
    axes = Figure().subplots()
    for number in range(12):
        count = 2 if number < 11 else 1
        _draw(axes, Line("a", np.arange(float(count)), np.zeros(count), None), number, str(number))
    looks = [(str(one.get_color()), str(one.get_linestyle())) for one in axes.lines]
    assert len(set(looks[:10])) == 10
    assert {colour for colour, _ in looks[10:]} == {style.GREY}
    assert [one.get_label() for one in axes.lines[:10]] == [str(number) for number in range(10)]
    assert [one.get_marker() for one in axes.lines[10:]] == ["", "."]  # a single point would not be seen


def test_the_band_reaches_one_deviation_to_either_side(tmp_path: Path) -> None:
    axes = Figure().subplots()
    _draw(axes, Line("a", np.array([1.0, 2.0]), np.array([5.0, 6.0]), np.array([0.5, 2.0])), 0, "a")
    [band] = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(1.0, 4.5), (1.0, 5.5), (2.0, 4.0), (2.0, 8.0)}


def test_runs_without_a_step_in_common_are_compared_at_their_ends() -> None:
    one, other = (Curve(np.array(steps), np.array(places), np.array(values)) for steps, places, values in (
        ([1, 2], [10.0, 20.0], [0.1, 0.2]), ([3], [40.0], [0.4]),
    ))  # fmt: skip
    found = line("both", [one, other])
    assert (found.places.tolist(), found.values.tolist()) == ([30.0], [pytest.approx(0.3)])
