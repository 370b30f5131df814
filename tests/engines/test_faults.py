"""What goes wrong on a long run ends in one message, and takes nothing along."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.commands.train import train
from mlstack.config import Config
from mlstack.config.commands import EvalConfig
from mlstack.config.compose import compose
from mlstack.engines.factory import weight_files
from mlstack.errors import ConfigError, DataError, HardwareError, OutputError, RunError, TrainingError
from mlstack.runs import RunFolder, find_run

from .conftest import Fit

pytestmark = pytest.mark.framework


def resumed(run: RunFolder, *words: str, output_dir: Path) -> None:
    """`scripts/train.py resume=…` in this process."""
    overrides = [f"resume={run.path}", f"output_dir={output_dir}", *words]
    train(compose(Config, overrides, base=run.config_path))


def run_of(config: Config) -> RunFolder:
    [path] = Path(config.output_dir).glob(f"*_{config.trainer.engine}/*")
    return RunFolder(path)


def test_a_full_disk_leaves_the_previous_checkpoint_and_the_run_goes_on_when_there_is_room(
    small_disk: Path, configure: Any, training: Any
) -> None:
    config = configure(trainer__max_epochs=4, trainer__save_top_k=1)
    config.output_dir = str(small_disk / "outputs")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 900_000)
    config.model.args = {"width": 40}  # a checkpoint takes 100 kB: the first one fits, the second one doesn't
    with pytest.raises(OutputError, match=r"can't be written: No space left on device") as caught:
        train(config)
    run = run_of(config)
    assert f"resume={run.path}" in caught.value.hint
    assert not list(run.checkpoints.glob(".*"))
    assert training.state(run.checkpoints / "last.ckpt")["position"]["step"] > 0

    ballast.unlink()
    resumed(run, output_dir=Path(config.output_dir))
    assert run.read_results()["status"] == "finished"
    assert run.read_results()["steps"] == 24


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    value: float, configure: Any, training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.spoil(monkeypatch, step=9, value=value)
    config = configure(trainer__checkpoint_every_n_steps=1)
    with pytest.raises(TrainingError, match=r"the loss is nan at optimizer step 9 \(epoch 2\)"):
        train(config)
    run = run_of(config)
    assert run.read_results()["status"] == "failed"
    last = run.checkpoint("last")
    assert training.state(last)["position"]["step"] == 8
    assert_finite(last, config)


def assert_finite(checkpoint: Path, config: Config) -> None:
    weights = weight_files(config.trainer.engine).read_weights(checkpoint)
    assert all(np.isfinite(weight).all() for weight in weights.values())


def test_weights_that_are_no_numbers_are_never_saved(configure: Any) -> None:
    config = configure(trainer__checkpoint_every_n_steps=1, model__optimizer="sgd", model__learning_rate=1e38)
    config.model.scheduler = "constant"
    with pytest.raises(TrainingError, match="training has diverged"):
        train(config)
    for path in Path(config.output_dir).rglob("*.ckpt"):
        assert_finite(path, config)


def test_the_step_that_is_named_is_the_first_whose_loss_is_no_number(
    fit: Fit, training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.spoil(monkeypatch, step=3, value=math.inf)
    with pytest.raises(TrainingError, match=r"at optimizer step 3 \(epoch 1\)"):
        fit(trainer__accumulate_grad_batches=2)


def test_memory_that_runs_out_is_one_message_with_the_next_batch_size(configure: Any) -> None:
    config = configure(data__batch_size=96)
    config.model.target = f"tiny_networks_{config.trainer.engine}:greedy"
    with pytest.raises(TrainingError, match=r"out of memory with data.batch_size=96") as caught:
        train(config)
    assert "data.batch_size=48 trainer.accumulate_grad_batches=2" in caught.value.hint


def stopped_after(configure: Any, epochs: int, **settings: Any) -> tuple[Config, RunFolder]:
    """A run that Ctrl-C stops in its second epoch."""
    config = configure(data__target="few_digits:interrupting", trainer__max_epochs=epochs, **settings)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    return config, run_of(config)


def test_a_damaged_checkpoint_is_named_and_the_newest_whole_one_is_used(
    configure: Any, training: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(trainer__max_epochs=3)
    train(config)
    run = run_of(config)
    run.update_results(status="interrupted")
    for name in ("last.ckpt", "epoch_2.ckpt"):
        path = run.checkpoints / name
        content = path.read_bytes()
        path.unlink(missing_ok=True)
        path.write_bytes(content[: len(content) // 2])
    capsys.readouterr()
    resumed(run, output_dir=Path(config.output_dir))
    said = capsys.readouterr().out
    assert "last.ckpt is damaged and passed over" in said
    assert "epoch_2.ckpt is damaged and passed over" in said
    assert training.state(run.checkpoints / "last.ckpt")["position"]["step"] == 18
    assert {path.name for path in run.checkpoints.glob("*.damaged")} >= {"last.ckpt.damaged", "epoch_2.ckpt.damaged"}


def test_a_run_of_which_every_checkpoint_is_damaged_is_one_message(configure: Any) -> None:
    config = configure(trainer__max_epochs=1)
    train(config)
    run = run_of(config)
    run.update_results(status="interrupted")
    for path in run.checkpoints.iterdir():
        path.unlink()
        (run.checkpoints / path.name).write_bytes(b"PK")
    with pytest.raises(RunError, match="holds no whole checkpoint"):
        resumed(run, output_dir=Path(config.output_dir))


def test_a_run_folder_that_was_moved_goes_on_and_still_answers(configure: Any, training: Any, tmp_path: Path) -> None:
    from mlstack.commands.evaluate import evaluate

    config = configure(trainer__max_epochs=2)
    train(config)
    moved = RunFolder(tmp_path / "elsewhere" / "a run")
    shutil.move(run_of(config).path, moved.path)
    evaluate(EvalConfig(run=str(moved.path), accelerator="cpu"))
    resumed(moved, "trainer.max_epochs=3", output_dir=tmp_path / "elsewhere")
    results = moved.read_results()
    assert (results["status"], results["steps"]) == ("finished", 18)
    assert training.state(moved.checkpoint("last"))["position"]["step"] == 18


def test_a_finished_run_is_left_as_it_is(configure: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure(trainer__max_epochs=1)
    train(config)
    run = run_of(config)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    capsys.readouterr()
    resumed(run, output_dir=Path(config.output_dir))
    assert "has finished: nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_more_epochs_go_on_with_a_finished_run_and_it_says_so(
    configure: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(trainer__max_epochs=1)
    train(config)
    run = run_of(config)
    capsys.readouterr()
    resumed(run, "trainer.max_epochs=3", output_dir=Path(config.output_dir))
    assert "trainer.max_epochs: 1 → 3; the learning-rate schedule is computed anew" in capsys.readouterr().out
    assert run.read_results()["epochs"] == 3
    assert run.read_config().trainer.max_epochs == 3
    assert find_run("latest", output_dir=config.output_dir) == run


def test_what_would_change_the_result_cannot_be_changed_on_the_way(configure: Any) -> None:
    config = configure(trainer__max_epochs=1)
    train(config)
    with pytest.raises(ConfigError, match=r"model.learning_rate=0.5 can't be changed while a run goes on") as caught:
        resumed(run_of(config), "model.learning_rate=0.5", output_dir=Path(config.output_dir))
    assert "init_from=" in caught.value.hint


def test_other_data_than_a_run_began_with_are_refused(configure: Any) -> None:
    config = configure(trainer__max_epochs=1)
    train(config)
    run = run_of(config)
    run.update_results(status="interrupted", data={"fingerprint": "0" * 64})
    with pytest.raises(DataError, match="another fingerprint"):
        resumed(run, output_dir=Path(config.output_dir))


def test_other_processes_than_have_counted_the_batches_cannot_go_on(configure: Any, training: Any) -> None:
    config = configure(trainer__max_epochs=1)
    train(config)
    run = run_of(config)
    for path in run.checkpoints.iterdir():
        training.change_position(path, world_size=4)
    with pytest.raises(HardwareError, match="trained by 4 processes, and 1 would go on with it"):
        resumed(run, "trainer.max_epochs=2", output_dir=Path(config.output_dir))


def test_early_stopping_counts_on_and_a_run_that_it_ended_stays_ended(configure: Any) -> None:
    config = configure(trainer__max_epochs=9, trainer__early_stopping_patience=2, model__learning_rate=1e-12)
    train(config)
    run = run_of(config)
    assert run.read_results()["epochs"] == 3
    run.update_results(status="interrupted")  # killed before its figures were drawn
    resumed(run, output_dir=Path(config.output_dir))
    results = run.read_results()
    assert (results["status"], results["epochs"], results["stopped_early"]) == ("finished", 3, True)
    assert len(results["resumed"]) == 1


def test_another_runs_weights_are_a_start(configure: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = configure(trainer__max_epochs=2)
    train(first)
    second = configure(trainer__max_epochs=1, model__learning_rate=1e-12)
    second.output_dir = str(tmp_path / "second")
    second.init_from = str(run_of(first).path)
    capsys.readouterr()
    train(second)
    assert "init_from   4 of 4 tensors from" in capsys.readouterr().out
    weights = [
        weight_files(config.trainer.engine).read_weights(run_of(config).checkpoints / name)["head.bias"]
        for config, name in ((first, "best.ckpt"), (second, "last.ckpt"))
    ]
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-6)


def test_weights_of_another_network_are_refused(configure: Any, tmp_path: Path) -> None:
    first = configure(trainer__max_epochs=1)
    train(first)
    second = configure()
    second.output_dir = str(tmp_path / "second")
    second.init_from, second.model.args = str(run_of(first).path), {"width": 5}
    with pytest.raises(RunError, match="none of its weights fits this network"):
        train(second)
    assert not list((tmp_path / "second").glob("*/*"))


def test_results_name_how_a_run_that_was_stopped_ended(configure: Any) -> None:
    _, run = stopped_after(configure, 3)
    results = json.loads(run.results_path.read_text())
    assert results["status"] == "interrupted"
    assert run.metrics_path.stat().st_size > 0
