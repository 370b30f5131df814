from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.commands.convert import convert
from mlstack.commands.evaluate import evaluate
from mlstack.commands.train import train
from mlstack.config.commands import ConvertConfig, EvalConfig
from mlstack.config.trainer import ENGINES
from mlstack.engines.factory import weight_files
from mlstack.errors import ConfigError, RunError
from mlstack.runs import RunFolder, find_resumable, find_run

from ..conftest import configuration, network

pytestmark = pytest.mark.framework

PAIRS = list(permutations(ENGINES, 2))  # none where only one engine is left


NETWORKS = {
    "small_cnn": {"model__name": "small_cnn", "model__target": None, "model__args": {"width": 4}},
    "own": {"model__args": {"norm": True}},
}
Trained = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], RunFolder]:
    """A short run of an engine with one of `NETWORKS`; made once."""

    @cache
    def original(engine: str, name: str) -> RunFolder:
        output_dir = tmp_path_factory.mktemp("original")
        train(configuration(output_dir, engine, **NETWORKS[name]))
        return find_run("latest", output_dir=output_dir)

    return original


@pytest.fixture
def trained(original: Callable[[str, str], RunFolder], tmp_path: Path) -> Trained:
    """`trained("paddle")`: a copy of such a run in `tmp_path`."""

    def trained(engine: str, name: str = "small_cnn") -> RunFolder:
        run = original(engine, name).path
        copy = tmp_path / run.parent.name / run.name
        shutil.copytree(run, copy)
        return RunFolder(copy)

    return trained


def converted(output_dir: Path, **settings: Any) -> RunFolder:
    convert(ConvertConfig(output_dir=str(output_dir), **settings))
    return find_run("latest", output_dir=output_dir)


def measured_on_test(run: RunFolder) -> dict[str, float]:
    evaluate(EvalConfig(run=str(run.path), accelerator="cpu"))
    metrics: dict[str, float] = json.loads((run.path / "evaluation_test.json").read_text(encoding="utf-8"))["metrics"]
    return metrics


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_converted_run_measures_alike_and_converts_back_bit_by_bit(
    source: str, target: str, trained: Trained, tmp_path: Path
) -> None:
    run = trained(source)
    there = converted(tmp_path)
    assert there.path.parent.name == f"few_digits_small_cnn_{target}"
    assert there.read_config().trainer.engine == target
    results = there.read_results()
    assert results["status"] == "finished"
    name = f"{run.path.parent.name}/{run.path.name}"
    assert results["converted_from"] == {"run": name, "engine": source, "checkpoint": "best"}
    assert results["metrics"] == run.read_results()["metrics"]
    assert "train_seconds" not in results
    measured, expected = measured_on_test(there), measured_on_test(run)
    assert measured.keys() == expected.keys()
    assert measured["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    for name in ("accuracy", "top5_accuracy", "f1"):  # the others have steps where rounding can tip the scales
        assert measured[name] == pytest.approx(expected[name]), name
    back = converted(tmp_path, run=str(there.path), engine=source)
    weights, again = (weight_files(source).read_weights(one.checkpoint("best")) for one in (run, back))
    assert weights.keys() == again.keys()
    assert all(
        np.array_equal(again[name], value) and again[name].dtype == value.dtype for name, value in weights.items()
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_last_checkpoint_of_a_users_network_is_converted_without_the_metrics_of_the_best(
    source: str, target: str, trained: Trained, tmp_path: Path
) -> None:
    trained(source, "own")
    there = converted(tmp_path, checkpoint="last", target=network(target), engine=target)
    assert "metrics" not in there.read_results()
    assert there.read_config().model.target == network(target)
    assert there.checkpoint("last").samefile(there.checkpoint("best"))
    assert measured_on_test(there)["accuracy"] >= 0


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_cannot_be_converted_is_one_message_and_leaves_no_folder(
    source: str, target: str, trained: Trained, tmp_path: Path
) -> None:
    run = trained(source)
    with pytest.raises(ConfigError, match="is of that engine already"):
        converted(tmp_path, engine=source)
    with pytest.raises(ConfigError, match="it has no use"):
        converted(tmp_path, target=network(target))
    settings = run.read_config()
    for name, reason in (("densenet121", "layers with other names"), ("resnet19", "no such architecture")):
        settings.model.name = name
        run.write_config(settings)
        with pytest.raises(ConfigError, match=reason):
            converted(tmp_path)
    settings.model.target = network(source)
    run.write_config(settings)
    with pytest.raises(ConfigError, match=r"own network is model\.target=") as caught:
        converted(tmp_path)
    assert "target=module:callable" in caught.value.hint
    assert not list(tmp_path.glob(f"*_{target}"))


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_damaged_checkpoint_is_one_message(source: str, target: str, trained: Trained, tmp_path: Path) -> None:
    run = trained(source)
    run.checkpoint("best").write_bytes(b"no weights")
    with pytest.raises(RunError, match="can't be loaded"):
        converted(tmp_path)
    assert not list(tmp_path.glob(f"*_{target}"))


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_converted_run_is_no_run_to_go_on_with(source: str, target: str, trained: Trained, tmp_path: Path) -> None:
    run = trained(source)
    there = converted(tmp_path)
    assert find_resumable("latest", output_dir=tmp_path) == run
    with pytest.raises(RunError, match="no optimizer to go on with") as caught:
        find_resumable(str(there.path))
    assert f"init_from={there.path}" in caught.value.hint


def test_with_one_engine_there_is_nothing_to_convert_to(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ENGINES[0]
    trained(engine)
    monkeypatch.setattr("mlstack.commands.convert.ENGINES", (engine,))
    with pytest.raises(ConfigError, match="is the only engine here"):
        converted(tmp_path)
