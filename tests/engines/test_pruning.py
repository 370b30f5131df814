"""Single weights that were set to 0 stay 0, in each engine: through steps, averages, stops and resumptions."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from without_figures import without_figures

from mlstack.commands.train import train
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.engines.factory import weight_files
from mlstack.errors import RunError
from mlstack.runs import RunFolder

from ..conftest import configuration

pytestmark = pytest.mark.framework

Weights = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory, engine: str) -> RunFolder:
    """A short run to begin with. Look, don't touch."""
    config = configuration(tmp_path_factory.mktemp("dense"), engine, model__args={"norm": True}, trainer__max_epochs=1)
    with without_figures():
        train(config)
    return run_in(config)


def run_in(config: Config) -> RunFolder:
    [path] = Path(config.output_dir).glob("*_*/*/config.yaml")
    return RunFolder(path.parent)


def weights(run: RunFolder, name: str = "last") -> Weights:
    found = weight_files(run.read_config().trainer.engine).read_weights(run.checkpoints / f"{name}.ckpt")
    return dict(found)


def pruning(configure: Any, dense: RunFolder, **settings: Any) -> Config:
    """Settings of a run that begins with the weights of the dense one."""
    common = {"model__args": {"norm": True}, "prune__ratio": 0.6, "prune__method": "unstructured"}
    config: Config = configure(**{"init_from": str(dense.path), **common, **settings})
    return config


def test_zeros_last_through_a_training_and_are_counted_in_the_checkpoint(
    configure: Any, dense: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config = pruning(configure, dense, trainer__ema_decay=0.9)
    train(config)
    run = run_in(config)
    kernel, start = weights(run)["backbone.0.weight"], weights(dense, "best")["backbone.0.weight"]
    smallest = np.abs(start) <= np.sort(np.abs(start), axis=None)[round(0.6 * start.size) - 1]
    np.testing.assert_array_equal(kernel == 0, smallest)
    assert not np.array_equal(kernel[~smallest], start[~smallest])
    facts = run.read_results()["prune"]
    matrices = [array for array in weights(run, "best").values() if array.ndim > 1]
    share = sum((array == 0).sum() for array in matrices) / sum(array.size for array in matrices)
    assert facts["sparsity"] == pytest.approx(share)
    assert share > 0
    assert (facts["method"], facts["ratio"]) == ("unstructured", 0.6)
    assert facts["parameters_before"] == facts["parameters_after"] == run.read_results()["parameters"]
    # A kernel of 3 × 3 on one channel at 4 × 4 places, 8 times; then 128 numbers to 10.
    assert facts["macs_before"] == facts["macs_after"] == 9 * 16 * 8 + 128 * 10
    said = capsys.readouterr().out
    assert "60% of the backbone's weights set to 0" in said
    assert "no faster" in said
    assert run.read_config().model.pruned is False


def test_a_pruned_run_that_was_stopped_ends_as_if_it_had_not_been(configure: Any, dense: RunFolder) -> None:
    undisturbed = pruning(configure, dense)
    stopped = copy.deepcopy(undisturbed)
    stopped.output_dir = f"{stopped.output_dir}_stopped"
    train(undisturbed)
    stopped.data.target = "few_digits:interrupting"
    with pytest.raises(KeyboardInterrupt):
        train(stopped)
    run = run_in(stopped)
    train(compose(Config, [f"resume={run.path}", f"output_dir={stopped.output_dir}"], base=run.config_path))
    expected, found = weights(run_in(undisturbed)), weights(run)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert "sparsity" in run.read_results()["prune"]


def test_what_is_pruned_needs_all_the_weights_that_come_in(
    configure: Any, dense: RunFolder, engine: str, tmp_path: Path
) -> None:
    parts = weights(dense, "best")
    del parts["head.bias"]
    weight_files(engine).write_weights(tmp_path / "parts.ckpt", parts)
    config = pruning(configure, dense, init_from=str(tmp_path / "parts.ckpt"))
    with pytest.raises(RunError, match=r"needs all of its weights, and head\.bias does not fit this network"):
        train(config)
    assert not list(Path(config.output_dir).glob("*/*"))


def test_a_backbone_that_is_frozen_starts_from_one_that_was_not(
    configure: Any, dense: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(init_from=str(dense.path), model__args={"norm": True}, model__freeze_backbone=True)
    train(config)
    assert "; new:" not in capsys.readouterr().out
    before, after = weights(dense, "best"), weights(run_in(config))
    np.testing.assert_array_equal(after["backbone.backbone.0.weight"], before["backbone.0.weight"])
