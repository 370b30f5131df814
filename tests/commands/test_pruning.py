from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mlstack.commands.pruning import pruning_line, with_pruned
from mlstack.commands.resume import stored_config
from mlstack.config import Config, ModelConfig, PruneConfig
from mlstack.config.compose import compose, to_yaml
from mlstack.config.sweep import SWEEP_START_VARIABLE
from mlstack.errors import ConfigError
from mlstack.runs import RunFolder, find_run

FACTS = {"ratio": 0.5, "parameters_before": 2000, "parameters_after": 500, "macs_before": 400, "macs_after": 104}


@pytest.fixture
def pruned(tmp_path: Path) -> RunFolder:
    """A run whose settings say that it is narrower than its model, without weights."""
    run = RunFolder(tmp_path / "outputs" / "a" / "b")
    run.checkpoints.mkdir(parents=True)
    run.write_config(Config(model=ModelConfig(pruned=True)))
    (run.checkpoints / "best.ckpt").touch()
    return run


def test_settings_say_that_layers_are_narrower_where_channels_go_or_have_gone(
    pruned: RunFolder, tmp_path: Path
) -> None:
    of_pruned = Config(init_from=str(pruned.checkpoints / "best.ckpt"))
    assert with_pruned(of_pruned).model.pruned
    elsewhere = Config(init_from=str(tmp_path / "best.ckpt"))
    assert not with_pruned(elsewhere).model.pruned
    assert with_pruned(replace(elsewhere, model=ModelConfig(pruned=True))).model.pruned
    assert with_pruned(replace(elsewhere, prune=PruneConfig(ratio=0.5))).model.pruned
    assert not with_pruned(replace(elsewhere, prune=PruneConfig(ratio=0.5, method="unstructured"))).model.pruned
    assert not with_pruned(Config()).model.pruned


def test_a_line_says_what_pruning_came_to() -> None:
    structured = pruning_line({"prune": {**FACTS, "method": "structured", "sparsity": 0.0}})
    assert "2,000 → 500 parameters (0.25 ×), 0.26 × the multiply-adds" in structured
    unstructured = pruning_line({"prune": {**FACTS, "method": "unstructured", "sparsity": 0.789}})
    assert "78.9% of the weights are 0" in unstructured
    assert "no faster" in unstructured
    assert pruning_line({}) == ""


def test_a_run_that_began_with_another_ones_weights_can_go_on(tmp_path: Path) -> None:
    stored = tmp_path / "config.yaml"
    stored.write_text(to_yaml(compose(Config, [f"init_from={tmp_path}/best.ckpt", "prune.ratio=0.5"])))
    config = compose(Config, [f"resume={tmp_path}"], base=stored)
    assert (config.init_from, config.prune.ratio) == (f"{tmp_path}/best.ckpt", 0.5)


def test_resume_and_init_from_on_one_command_line_are_refused() -> None:
    with pytest.raises(ConfigError, match="resume=latest and init_from=latest contradict each other"):
        stored_config(["resume=latest", "init_from=latest"])


def test_to_the_jobs_of_a_sweep_latest_is_the_run_from_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, finished in (("before", "2026-01-01T10:00:00+00:00"), ("after", "2026-01-01T12:00:00+00:00")):
        run = RunFolder(tmp_path / "family" / name)
        run.write_config(Config())
        run.update_results(status="finished", finished_at=finished)
    assert find_run("latest", output_dir=tmp_path).path.name == "after"
    monkeypatch.setenv(SWEEP_START_VARIABLE, "2026-01-01T11:00:00+00:00")
    assert find_run("latest", output_dir=tmp_path).path.name == "before"
