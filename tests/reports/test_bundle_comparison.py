from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from matplotlib.text import Text
from PIL import Image

from mlstack.reports.bundle_comparison import draw_bundle_comparison
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
