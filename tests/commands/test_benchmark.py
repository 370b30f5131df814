from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import make_bundle

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.session import Session
from mlstack.commands.benchmark import benchmark, find_bundles
from mlstack.config import Config, DataConfig
from mlstack.config.export import BenchmarkConfig
from mlstack.datasets import load_dataset
from mlstack.errors import BundleError, ConfigError, OutputError
from mlstack.export.benchmark import names_of
from mlstack.export.bundle_data import data_of, hold_out
from mlstack.reports.text_width import display_width
from mlstack.runs import RunFolder

DATA = DataConfig(name="few_digits", target="few_digits:load")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two model files in a run folder whose data are here. Look, don't touch."""
    run = RunFolder(tmp_path_factory.mktemp("outputs") / "digits_tiny" / "run")
    run.path.mkdir(parents=True)
    run.write_config(Config(data=DATA))
    return make_bundle(run.path / "bundle", precisions=("fp32", "int8"), default="int8", width=8)


def settings(tmp_path: Path, *bundles: Path, **keys: object) -> BenchmarkConfig:
    """Of a measurement that takes a moment."""
    quick = {"batch_sizes": [1, 4], "seconds": 0.01, "output": str(tmp_path / "benchmark.png")}
    return BenchmarkConfig(bundle=[str(one) for one in bundles], **{**quick, **keys})  # type: ignore[arg-type]


def test_every_model_file_at_every_batch_size_is_in_table_figure_csv_and_json(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark(settings(tmp_path, bundle.path.parent, max_latency_ms=1e6, min_images_per_s=0.001))
    shown = capsys.readouterr().out
    table = shown.split("model  ")[1].split("measured on")[0]
    assert max(map(display_width, table.splitlines())) <= 120
    assert (table.count("fp32"), table.count("int8")) == (1, 1)
    assert "accuracy measured on 30 pictures" in shown
    assert shown.count("kept    ") == 2
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").read_text().splitlines()))
    assert [(row["precision"], row["batch"]) for row in rows] == [
        ("fp32", "1"),
        ("fp32", "4"),
        ("int8", "1"),
        ("int8", "4"),
    ]
    assert all(float(row["memory_mb"]) > 20 for row in rows)
    content = json.loads((tmp_path / "benchmark.json").read_text())
    assert content["verdict"]["digits_tiny"]["kept"] is True
    assert "ONNX Runtime" in content["machine"]
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000

    test = load_dataset(DATA).splits["test"]
    answers = Session(bundle.model("int8")).run(test.images.read(np.arange(30))).output
    served = next(model for model in content["models"] if model["default"])
    assert served["precision"] == "int8"
    assert served["score"] == pytest.approx(float((answers.argmax(axis=1) == test.labels).mean()))


def test_a_limit_that_is_missed_ends_with_status_1_after_everything_is_written(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        benchmark(settings(tmp_path, bundle.path, batch_sizes=[1], max_latency_ms=1e6, min_accuracy=1.0, max_images=10))
    assert end.value.code == 1
    shown = capsys.readouterr().out
    assert "MISSED  min_accuracy=1: digits_tiny (int8) has accuracy" in shown
    assert "kept    max_latency_ms" in shown
    assert "accuracy measured on 10 pictures" in shown
    assert (tmp_path / "benchmark.png").is_file()


def test_bundles_whose_data_are_elsewhere_show_what_they_record_with_a_mark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one that takes four pictures a call is measured with four, whatever batch sizes are asked for."""
    make_bundle(tmp_path / "a", name="a", metrics={"test": {"accuracy": 0.75}})
    make_bundle(tmp_path / "b", name="b", batch=4)
    benchmark(settings(tmp_path, tmp_path / "a", tmp_path / "b", batch_sizes=[1], output_dir=str(tmp_path)))
    shown = capsys.readouterr().out
    assert "75.00%*" in shown
    assert "*: recorded in the bundle" in shown
    assert "note: a: accuracy as recorded in the bundle, not measured" in shown
    assert "1. a (fp32): accuracy 75.00%*" in shown
    assert "2. b (fp32): accuracy –" in shown
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").read_text().splitlines()))
    assert [(row["bundle"], row["batch"]) for row in rows] == [("a", "1"), ("b", "4")]


def test_a_bundle_of_other_data_than_its_run_now_finds_is_told(bundle: Bundle, tmp_path: Path) -> None:
    from mlstack.export.benchmark import is_own

    held_out = hold_out(data_of(bundle), "test")
    assert is_own(held_out, bundle.metadata)
    assert is_own(held_out, replace(bundle.metadata, data={"fingerprint": held_out.dataset.fingerprint}))
    assert not is_own(held_out, replace(bundle.metadata, data={"fingerprint": "another"}))


def test_some_pictures_of_a_split_are_taken_from_all_over_it(bundle: Bundle) -> None:
    assert hold_out(data_of(bundle), "test", limit=4).rows.tolist() == [0, 10, 19, 29]
    assert len(hold_out(data_of(bundle), "test", limit=999)) == 30


def test_bundles_are_named_as_briefly_as_they_differ(bundle: Bundle, tmp_path: Path) -> None:
    other = replace(bundle, metadata=replace(bundle.metadata, version="2"))
    copy = replace(bundle, path=tmp_path)
    third = replace(bundle, metadata=replace(bundle.metadata, name="else"))
    assert names_of([bundle, third]) == ["digits_tiny", "else"]
    assert names_of([bundle, other]) == ["digits_tiny_1", "digits_tiny_2"]
    assert names_of([bundle, copy]) == [str(bundle.path), str(tmp_path)]


def test_a_pattern_finds_bundles_among_other_things_and_each_once(bundle: Bundle) -> None:
    root = bundle.path.parents[2]
    words = [str(root / "*" / "*"), str(bundle.path), "latest", str(bundle.path.parent)]
    assert [one.path.resolve() for one in find_bundles(words, output_dir=str(root))] == [bundle.path.resolve()]


def test_mistakes_are_one_line_before_anything_is_measured(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="bundle=nowhere: no bundle there"):
        benchmark(settings(tmp_path, Path("nowhere")))
    with pytest.raises(ConfigError, match=r"output=a\.pdf is not a \.png"):
        benchmark(settings(tmp_path, bundle.path, output="a.pdf"))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        benchmark(settings(tmp_path, bundle.path, output=str(tmp_path / "folder.png")))
    make_bundle(tmp_path / "numbers", task="regression", classes=2)
    with pytest.raises(ConfigError, match=r"is a classification and .* a regression"):
        benchmark(settings(tmp_path, bundle.path, tmp_path / "numbers"))
    with pytest.raises(ConfigError, match=r"min_accuracy=0\.5: .* is a regression"):
        benchmark(settings(tmp_path, tmp_path / "numbers", min_accuracy=0.5))
    with pytest.raises(ConfigError, match="bundle= names no bundle"):
        benchmark(settings(tmp_path))


def test_a_damaged_bundle_is_refused_with_the_files_name(bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    content = bytearray((copy / "model.onnx").read_bytes())
    content[100] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        benchmark(settings(tmp_path, copy))
    assert read_bundle(bundle.path).metadata == bundle.metadata
