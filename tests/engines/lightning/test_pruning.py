"""Runs that lose whole channels: what comes in, what is noted, and what later runs make of them."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from without_figures import without_figures

from mlstack.commands.convert import convert
from mlstack.commands.evaluate import evaluate
from mlstack.commands.train import train
from mlstack.config import Config
from mlstack.config.commands import ConvertConfig, EvalConfig
from mlstack.config.compose import compose
from mlstack.config.trainer import ENGINES
from mlstack.engines.lightning.weight_files import read_weights
from mlstack.errors import ConfigError, MissingPackageError, RunError
from mlstack.runs import RunFolder, find_run

from ...conftest import configuration

pytestmark = pytest.mark.framework

NETWORK = {"model__name": "small_cnn", "model__target": None}


def run_in(folder: Path | str) -> RunFolder:
    return find_run("latest", output_dir=folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """A run, and one that begins with half of its channels. Look, don't touch."""
    folder = tmp_path_factory.mktemp("runs")
    with without_figures():
        train(configuration(folder, "lightning", trainer__max_epochs=1, **NETWORK))
        whole = run_in(folder)
        train(configuration(folder, "lightning", init_from="latest", prune__ratio=0.5, **NETWORK))
    return whole, run_in(folder)


def of_pruned(runs: tuple[RunFolder, RunFolder], folder: Path, engine: str = "lightning", **settings: Any) -> Config:
    """Settings of a run that begins with the pruned one."""
    return configuration(folder, engine, init_from=str(runs[1].path), **{**NETWORK, **settings})


def measured(run: RunFolder) -> dict[str, float]:
    evaluate(EvalConfig(run=str(run.path), accelerator="cpu"))
    metrics: dict[str, float] = json.loads((run.path / "evaluation_test.json").read_text(encoding="utf-8"))["metrics"]
    return metrics


def test_a_pruned_run_notes_what_was_removed_and_is_measured_again_in_a_fresh_engine(
    runs: tuple[RunFolder, RunFolder],
) -> None:
    whole, pruned = runs
    config, results = pruned.read_config(), pruned.read_results()
    assert config.model.pruned is True
    facts = results["prune"]
    assert facts["parameters_before"] == whole.read_results()["parameters"] == 72_666
    assert facts["parameters_after"] == results["parameters"] < 0.3 * 72_666
    assert facts["macs_after"] < 0.3 * facts["macs_before"]
    assert facts["sparsity"] < 0.01
    assert read_weights(pruned.checkpoint())["backbone.0.0.weight"].shape == (8, 1, 3, 3)
    expected = results["metrics"]["test"]
    assert measured(pruned)["loss"] == pytest.approx(expected["loss"])


def test_a_pruned_run_that_was_stopped_ends_as_if_it_had_not_been(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    whole, pruned = runs
    stopped = configuration(tmp_path, "lightning", init_from=str(whole.path), prune__ratio=0.5, **NETWORK)
    stopped.data.target = "few_digits:interrupting"
    with pytest.raises(KeyboardInterrupt):
        train(stopped)
    [config_path] = tmp_path.glob("*/*/config.yaml")
    run = RunFolder(config_path.parent)
    train(compose(Config, [f"resume={run.path}", f"output_dir={tmp_path}"], base=config_path))
    expected, found = read_weights(pruned.checkpoint("last")), read_weights(run.checkpoint("last"))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    facts = run.read_results()["prune"]
    assert facts == pruned.read_results()["prune"]


def test_a_pruned_run_is_fine_tuned_further_and_pruned_again(runs: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    parameters = runs[1].read_results()["parameters"]
    train(of_pruned(runs, tmp_path, trainer__max_epochs=1, trainer__ema_decay=0.9))
    further = run_in(tmp_path)
    assert further.read_config().model.pruned is True
    assert further.read_results()["parameters"] == parameters
    assert "prune" not in further.read_results()
    again = of_pruned(runs, tmp_path, trainer__max_epochs=1, prune__ratio=0.5)
    again.init_from = str(further.checkpoint().absolute())  # a bare file, in a run's folder
    train(again)
    facts = run_in(tmp_path).read_results()["prune"]
    assert facts["parameters_before"] == parameters
    assert facts["parameters_after"] < 0.4 * parameters


def test_latest_is_the_newest_run_that_was_not_pruned_where_ratios_are_tried_one_after_the_other(
    runs: tuple[RunFolder, RunFolder],
) -> None:
    whole, pruned = runs
    folder = whole.path.parents[1]
    from mlstack.commands.resume import starting_weights

    config = configuration(folder, "lightning", init_from="latest", prune__ratio=0.3, **NETWORK)
    assert starting_weights(config) == str(whole.checkpoint().absolute())
    config.prune.ratio = 0.0
    assert starting_weights(config) == str(pruned.checkpoint().absolute())


@pytest.mark.parametrize("other", [name for name in ENGINES if name != "lightning"])
def test_a_pruned_run_that_was_converted_measures_alike_and_learns_on(
    other: str, runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    convert(ConvertConfig(run=str(runs[1].path), engine=other, output_dir=str(tmp_path)))
    there = run_in(tmp_path)
    assert there.read_config().model.pruned is True
    assert there.read_config().prune.ratio == 0
    assert there.read_results()["prune"] == runs[1].read_results()["prune"]
    expected, found = measured(runs[1]), measured(there)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    config = of_pruned(runs, tmp_path, other, trainer__max_epochs=1)
    config.init_from = str(there.path)
    train(config)
    assert run_in(tmp_path).read_results()["parameters"] == runs[1].read_results()["parameters"]
    measured(run_in(tmp_path))


def test_weights_of_another_width_or_network_are_refused_before_a_run_is_left(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    for arguments in ({"model__args": {"width": 4}}, {"model__name": "resnet18"}):
        with pytest.raises(RunError, match="it is of another network") as caught:
            train(of_pruned(runs, tmp_path, **arguments))
        assert "choose the same model" in caught.value.hint
    assert not list(tmp_path.glob("*/*"))


def test_without_torch_pruning_there_is_one_line_with_what_to_install(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(MissingPackageError, match=r"torch-pruning==1\.6\.1"):
        train(of_pruned(runs, tmp_path, prune__ratio=0.5))
    assert not list(tmp_path.glob("*/*"))


def test_a_network_that_cannot_be_built_from_its_weights_is_refused(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlstack.engines.lightning.pruning.shapes_of", lambda _: {"backbone.0.0.weight": (1, 1, 3, 3)})
    with pytest.raises(ConfigError, match="can't remove channels of this network"):
        train(copy.deepcopy(of_pruned(runs, tmp_path, prune__ratio=0.5)))
    assert not list(tmp_path.glob("*/*"))
