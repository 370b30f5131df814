from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mlstack.reports.bundle_comparison import (
    PERCENT_TICKS,
    _draw_plane,
    _draw_rates,
    _draw_scores,
    _scale,
    draw_bundle_comparison,
)
from mlstack.reports.bundle_rows import (
    MeasuredModel,
    Speed,
    as_csv,
    as_json,
    benchmark_table,
    common_start,
    labels,
    shown_score,
    shown_size,
)
from mlstack.reports.bundle_verdict import Limits, judge, rank
from mlstack.reports.text_width import display_width

if TYPE_CHECKING:
    from conftest import Drawn


def model(
    bundle: str = "digits_a",
    precision: str = "fp32",
    *,
    size: float = 40,
    milliseconds: float = 10,
    score: float | None = 0.9,
    batches: tuple[int, ...] = (1, 8),
    threads: tuple[int, ...] = (1,),
    origin: str = "measured",
    metric: str = "accuracy",
) -> MeasuredModel:
    speeds = tuple(
        Speed(
            batch=batch,
            threads=count,
            p50=milliseconds * batch / count,
            p95=1.2 * milliseconds * batch / count,
            p99=1.5 * milliseconds * batch / count,
            cpu=milliseconds * batch,
            images_per_second=1000 * count / milliseconds * (1 + 0.01 * batch),
            memory_mb=60 + size + batch,
            calls=100,
        )
        for count in threads
        for batch in batches
    )
    path = f"/bundles/{bundle}/model.onnx"
    return MeasuredModel(bundle, path, precision, True, int(size * 1e6), metric, score, origin, 179, "data", speeds)


def test_names_leave_out_what_all_share() -> None:
    assert labels([model(), model(precision="int8")]) == ["fp32", "int8"]
    assert labels([model("digits_small"), model("digits_smart")]) == ["small", "smart"]
    assert labels([model("a", "fp32"), model("b", "int8")]) == ["a · fp32", "b · int8"]
    assert common_start(["digits_a", "digits_b"]) == "digits_"
    assert common_start(["digit", "digits"]) == ""


def test_scores_and_sizes_are_shown_as_people_write_them() -> None:
    assert shown_score(model(score=0.98425)) == "98.42%"
    assert shown_score(model(score=0.5, origin="recorded")) == "50.00%*"
    assert shown_score(model(score=3.14159, metric="mae")) == "3.142"
    assert shown_score(model(score=None)) == "–"
    assert shown_size(44_712_345) == "44.71"
    assert shown_size(1400) == "0.0014"


def test_the_table_fits_a_terminal_and_says_once_what_the_lines_of_a_file_share() -> None:
    rows = [model("a_name_that_is_far_too_long_for_any_table_" + "x" * 30, "int8_dynamic", milliseconds=1234.5)]
    lines = benchmark_table([*rows, model(score=None)]).splitlines()
    assert max(map(display_width, lines)) <= 120
    assert sum("int8_dynamic" in line for line in lines) == 1
    assert len(lines) == 2 + 2 * 2
    assert lines[-2].split()[:4] == ["digits_a", "fp32", "–", "40.00"]
    assert lines[-1].split() == ["8", "1", "80.00", "96.00", "120.0", "80.00", "108", "108"]


def test_csv_and_json_hold_every_value_in_full() -> None:
    models = [model(threads=(1, 2)), model("digits_b", score=None)]
    lines = list(csv.DictReader(io.StringIO(as_csv(models))))
    assert len(lines) == 4 + 2
    assert (lines[3]["bundle"], lines[3]["batch"], lines[3]["threads"]) == ("digits_a", "8", "2")
    assert float(lines[3]["p95"]) == models[0].speeds[3].p95
    content = json.loads(as_json(models, machine="here"))
    assert content["machine"] == "here"
    assert content["models"][1]["score"] is None
    assert content["models"][0]["speeds"][3]["memory_mb"] == models[0].speeds[3].memory_mb


def test_the_figure_names_each_file_shows_its_score_and_throughput(tmp_path: Path, drawn: Drawn) -> None:
    models = [model(), model(precision="int8", size=10, milliseconds=3, score=0.89)]
    path = draw_bundle_comparison(models, tmp_path / "deep" / "benchmark.png", title="digits", note="on this machine")
    with Image.open(path) as image:
        assert image.size[0] > 1000
    assert drawn.words.count("fp32") >= 2  # beside its point and beside its score
    assert {"digits", "on this machine", "90.00%", "89.00%", "int8", "1", "8"} <= set(drawn.words)
    assert any("one picture, one thread" in word for word in drawn.words)


@pytest.mark.parametrize("count", [1, 6])
def test_names_in_the_figure_cover_neither_each_other_nor_the_edge(tmp_path: Path, drawn: Drawn, count: int) -> None:
    models = [  # near each other, so that names can't all stand to the right
        model(
            f"digits_network_{number}", precision, size=4 * 1.2**number * share, milliseconds=(1 + number / 50) * share
        )
        for number in range(count)
        for precision, share in (("fp32", 1), ("int8", 0.9))
    ]
    draw_bundle_comparison(models, tmp_path / "benchmark.png")
    plane = drawn.figure.axes[0]
    names = [text for text in plane.texts if text.get_text()]
    assert len(names) == len(models)
    boxes = [Text.get_window_extent(text) for text in names]  # without the line to the point
    frame = plane.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
    clashes = sum(one.overlaps(other) for row, one in enumerate(boxes) for other in boxes[row + 1 :])
    assert clashes == 0


def test_names_in_any_script_and_with_dollars_are_drawn(tmp_path: Path, drawn: Drawn) -> None:
    draw_bundle_comparison([model("a_$5$"), model("图片"), model("x" * 90)], tmp_path / "benchmark.png")
    assert "a_$5$" in drawn.words
    assert any("…" in word for word in drawn.words)


def test_what_is_recorded_unknown_or_of_a_fixed_batch_is_marked(tmp_path: Path, drawn: Drawn) -> None:
    models = [model("a", origin="recorded"), model("b", score=None), model("c", batches=(4,))]
    draw_bundle_comparison(models, tmp_path / "benchmark.png", note="here")
    assert "90.00%*" in drawn.words
    assert "–" in drawn.words
    assert "c (a batch of 4)" in drawn.words
    assert any(word.startswith("here") and "recorded" in word for word in drawn.words)


def test_each_limit_is_judged_with_the_measured_value() -> None:
    verdict = judge(model(threads=(1, 2)), Limits(12.0, 150, 0.9, 108))
    assert verdict.kept
    assert verdict.lines == [
        "kept    max_latency_ms=12: digits_a (fp32) has p95 12.00 ms at batch 1, 1 thread",
        "kept    min_images_per_s=150: digits_a (fp32) has 216.0 images/s at batch 8, 2 threads",
        "kept    min_accuracy=0.9: digits_a (fp32) has accuracy 90.00%",
        "kept    max_memory_mb=108: digits_a (fp32) has 108 MiB at batch 8, 1 thread",
    ]


@pytest.mark.parametrize(
    "limits", [Limits(11.9), Limits(None, 217), Limits(None, None, 0.901), Limits(max_memory_mb=107)]
)
def test_one_limit_that_is_missed_is_enough(limits: Limits) -> None:
    verdict = judge(model(threads=(1, 2)), limits)
    assert not verdict.kept
    assert [line.split()[0] for line in verdict.lines] == ["MISSED"]


def test_an_accuracy_that_nobody_knows_keeps_no_limit() -> None:
    assert not judge(model(score=None), Limits(min_accuracy=0.1)).kept
    assert judge(model(score=None), Limits()).kept


def test_the_best_bundle_keeps_the_limits_then_is_right_most_often_then_fast() -> None:
    models = [model("slow", milliseconds=50, score=0.99), model("b", score=0.9), model("a", score=0.9, milliseconds=5)]
    lines = rank([judge(one, Limits(20.0)) for one in [*models, model("unknown", score=None)]])
    assert [line.split()[1] for line in lines] == ["a", "b", "unknown", "slow"]
    assert lines[3].endswith("(limits missed)")
    errors = [model("far", metric="mae", score=3.0), model("near", metric="mae", score=2.0)]
    assert [line.split()[1] for line in rank([judge(one, Limits()) for one in errors])] == ["near", "far"]


def ticks(low: float, high: float) -> list[float]:
    axes = Figure().subplots()
    _scale(axes, "x", [low, high])
    first, last = axes.get_xlim()
    return [round(value, 6) for value in axes.get_xticks() if first <= value <= last]


def test_an_axis_begins_at_zero_where_values_are_near_and_is_logarithmic_from_four_times_on() -> None:
    near, far = Figure().subplots(1, 2)
    _scale(near, "y", [39.9, 10.0, 20.0])
    assert (near.get_yscale(), near.get_ylim()) == ("linear", pytest.approx((0, 39.9 * 1.3)))
    _scale(far, "y", [40.0, 10.0])
    assert far.get_yscale() == "log"
    assert far.get_ylim() == pytest.approx((10 / 4**0.18, 40 * 4**0.18))
    assert far.get_xscale() == "linear" and near.get_xlim() == (0, 1)


def test_the_wider_an_axis_the_fewer_ticks_a_decade_has() -> None:
    assert ticks(10, 100) == [7, 10, 15, 20, 30, 50, 70, 100, 150]
    assert ticks(10, 120) == [10, 20, 50, 100]
    assert ticks(10, 2000) == [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert ticks(10, 3000) == [10, 100, 1000]


def test_a_file_stands_at_its_size_and_median_with_a_line_up_to_its_p95() -> None:
    axes = Figure().subplots()
    models = [model(), model(precision="int8", size=10, milliseconds=3), model("b", size=20, milliseconds=5)]
    _draw_plane(axes, models, ["k", "k", "r"])
    lines = [np.column_stack([np.asarray(one.get_xdata()), np.asarray(one.get_ydata())]).tolist() for one in axes.lines]
    sign, up, join = [[[40, 10]], [[40, 10], [40, 12]]], [[10, 3], [10, pytest.approx(3.6)]], [[40, 10], [10, 3]]
    assert lines == [*sign[::-1], join, up, [[10, 3]], [[20, 5], [20, 6]], [[20, 5]]]
    assert "one picture, one thread" in axes.get_title(loc="left")
    other = Figure().subplots()
    _draw_plane(other, [model(batches=(8,), threads=(4,))], ["k"])
    assert "a batch of 8, 4 threads" in other.get_title(loc="left")


def test_the_best_score_stands_on_top_and_an_unknown_one_at_the_bottom() -> None:
    axes = Figure().subplots()
    models = [model("a", score=0.8), model("b", score=None), model("c", score=0.9, origin="recorded")]
    _draw_scores(axes, models, ["a", "b", "c"], ["#ff0000", "#00ff00", "#0000ff"])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "c"]
    assert [(float(one.get_xdata()[0]), float(one.get_ydata()[0])) for one in axes.lines] == [(0.8, 1), (0.9, 2)]  # type: ignore[index]
    assert [one.get_markerfacecolor() for one in axes.lines] == ["#ff0000", "white"]
    assert axes.get_xlim() == pytest.approx((0.788, 0.912)) and axes.get_ylim() == pytest.approx((-0.6, 2.6))
    assert [text.xy for text in axes.texts] == [(1.01, 0), (1.01, 1), (1.01, 2)]  # type: ignore[attr-defined]
    assert [label.get_color() for label in axes.get_yticklabels()] == ["#00b800", "#b80000", "#0000b8"]
    same = Figure().subplots()
    _draw_scores(same, [model(score=0.5)], ["a"], ["k"])
    assert same.get_xlim() == pytest.approx((0.499, 0.501))


def test_of_an_error_the_least_stands_on_top() -> None:
    axes = Figure().subplots()
    _draw_scores(
        axes, [model("a", metric="mae", score=1.0), model("b", metric="mae", score=3.0)], ["a", "b"], ["k"] * 2
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert axes.get_title(loc="left") == "mae (less is better)"


def test_throughput_is_drawn_by_batch_size_at_the_first_number_of_threads() -> None:
    axes = Figure().subplots()
    models = [model(batches=(1, 8), threads=(2, 4)), model(precision="int8", batches=(8, 32), threads=(2,))]
    _draw_rates(axes, models, ["k", "r"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "8", "32"]
    assert [np.asarray(one.get_xdata()).tolist() for one in axes.lines] == [[0, 1], [1, 2]]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == pytest.approx([202, 216])
    first, last = axes.get_xlim()
    assert -0.5 <= first < 0 and 2 < last <= 2.5
    legend = axes.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["fp32", "int8"]
    alone = Figure().subplots()
    _draw_rates(alone, [model()], ["k"])
    assert alone.get_legend() is None


def test_the_figure_grows_with_its_files(tmp_path: Path, sketched: Drawn) -> None:
    for count, height in ((1, 5.6), (10, 5.6), (11, 5.84)):
        draw_bundle_comparison([model(f"b{number}") for number in range(count)], tmp_path / "benchmark.png")
        assert sketched.figure.get_size_inches() == pytest.approx((11.5, height))


def test_shares_are_percent_at_the_axis() -> None:
    assert [PERCENT_TICKS(value) for value in (0.5, 0.98, 0.9875, 1.0)] == ["50 %", "98 %", "98.75 %", "100 %"]
