from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlstack.config import Config, DataConfig
from mlstack.config.sweep import RUN_RECORD_VARIABLE
from mlstack.config.trainer import ENGINES
from mlstack.errors import OutputError, RunError
from mlstack.runs import (
    RUN_FOLDER_VARIABLE,
    RunFolder,
    announced_run,
    create_run,
    discard_run,
    find_resumable,
    find_run,
    finish_run,
    record_run,
    write_text,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(output_dir=str(tmp_path / "outputs"), data=DataConfig(name="digits"))


def finished(config: Config, when: str) -> RunFolder:
    """A run folder with no more in it than marks it as finished."""
    run = create_run(config)
    run.write_config(config)
    run.update_results(status="finished", finished_at=when)
    return run


def test_runs_that_start_at_the_same_moment_get_folders_of_their_own(config: Config) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: create_run(config), range(16)))
    assert len({run.path for run in runs}) == 16
    assert {run.path.parent.name for run in runs} == {f"digits_resnet18_{ENGINES[0]}"}


def test_a_run_folder_is_named_by_data_model_and_engine_without_characters_that_a_path_forbids(config: Config) -> None:
    config.model.name = "timm/vit_tiny"
    assert create_run(config).path.parent.name == f"digits_timm-vit_tiny_{ENGINES[0]}"


def test_a_process_of_a_launcher_joins_the_folder_that_was_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert announced_run() is None
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path / "announced"))
    assert announced_run() == RunFolder(tmp_path / "announced")


def test_a_run_tells_who_asked_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_run(RunFolder(tmp_path / "unasked"))
    record = tmp_path / "record.txt"
    monkeypatch.setenv(RUN_RECORD_VARIABLE, str(record))
    for name in ("a", "照片"):
        record_run(RunFolder(tmp_path / name))
    assert record.read_text(encoding="utf-8").splitlines() == [str(tmp_path / "a"), str(tmp_path / "照片")]


def test_the_newest_run_with_a_checkpoint_goes_on(config: Config) -> None:
    runs = [create_run(config) for _ in range(3)]
    for number, run in enumerate(runs):
        run.write_config(config)
        run.update_results(started_at=f"2026-01-0{number + 1}")
    for run in runs[:2]:
        run.checkpoints.mkdir()
        (run.checkpoints / "last.ckpt").touch()
    assert find_resumable("latest", output_dir=config.output_dir) == runs[1]
    assert find_resumable(str(runs[2].path)) == runs[2]


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(config: Config) -> None:
    run = create_run(config)
    run.write_config(config)
    run.checkpoints.mkdir()
    (run.checkpoints / ".last.ckpt").touch()  # cut off while it was written
    with pytest.raises(RunError, match=r"resume=latest: no run in .* has a checkpoint"):
        find_resumable("latest", output_dir=config.output_dir)
    with pytest.raises(RunError, match="resume=nowhere: no run folder there"):
        find_resumable("nowhere")


def test_a_run_folder_that_cannot_be_made_is_one_message(config: Config, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="can't be made: Not a directory") as caught:
        create_run(config)
    assert "output_dir=<folder>" in str(caught.value)


def test_settings_come_back_as_they_were_written(config: Config) -> None:
    config.data.classes = ["nought", "one", "二"]
    config.data.mean = [0.25]
    config.trainer.limit_train_batches = 3
    config.trainer.lightning = {"detect_anomaly": True}
    run = create_run(config)
    run.write_config(config)
    assert run.read_config() == config


@pytest.mark.parametrize(
    "text", ["model: [", "trainer: {no_such_key: 1}", "seed: many", "- a\n- list\n", "\x00", "just a word"]
)
def test_settings_that_cannot_be_read_are_one_message(text: str, config: Config) -> None:
    run = create_run(config)
    run.config_path.write_text(text)
    with pytest.raises(RunError, match="can't be read as a run's settings"):
        run.read_config()


def test_results_grow_entry_by_entry(config: Config) -> None:
    run = create_run(config)
    run.update_results(status="running", seed=1)
    run.update_results(status="failed")
    assert run.read_results() == {"status": "failed", "seed": 1}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_text(path, "first")

    def stopped(self: Path, text: str, **_: str) -> None:
        with self.open("w") as file:
            file.write(text[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", stopped)
        with pytest.raises(OutputError, match="No space left on device"):
            write_text(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_while_results_are_written_leaves_the_old_ones(config: Config) -> None:
    run = finished(config, "2026-01-01T00:00:00+00:00")
    # What a killed process leaves: half a text under the temporary name.
    (run.path / f".results.json.{os.getpid() + 1}").write_text('{"status": "fin')
    assert run.read_results()["status"] == "finished"
    assert find_run("latest", output_dir=config.output_dir) == run


def test_latest_is_the_run_that_finished_last_not_the_one_that_started_last(config: Config) -> None:
    late = finished(config, "2026-03-02T10:00:00+00:00")
    finished(config, "2026-03-01T10:00:00+00:00")
    assert find_run("latest", output_dir=config.output_dir) == late


@pytest.mark.parametrize("status", ["running", "failed", "interrupted", "fast_dev_run"])
def test_an_unfinished_run_is_not_latest(status: str, config: Config) -> None:
    good = finished(config, "2026-03-01T10:00:00+00:00")
    other = finished(config, "2026-03-02T10:00:00+00:00")
    other.update_results(status=status)
    assert find_run("latest", output_dir=config.output_dir) == good


@pytest.mark.parametrize("damage", ['{"status": "finis', "[]", ""])
def test_damaged_results_are_skipped_in_the_search_for_latest(damage: str, config: Config) -> None:
    good = finished(config, "2026-03-01T10:00:00+00:00")
    bad = finished(config, "2026-03-02T10:00:00+00:00")
    bad.results_path.write_text(damage)
    assert find_run("latest", output_dir=config.output_dir) == good
    with pytest.raises(RunError, match=r"results\.json"):
        bad.read_results()


def test_no_finished_run_is_one_message_with_what_to_type(config: Config) -> None:
    with pytest.raises(RunError, match="run=latest: no finished run in") as caught:
        find_run("latest", output_dir=config.output_dir)
    assert "python scripts/train.py data=digits" in str(caught.value)


def test_a_folder_that_is_no_run_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder there"):
        find_run(str(tmp_path))


def test_the_latest_link_is_relative_so_that_the_folder_can_be_moved(config: Config, tmp_path: Path) -> None:
    runs = [create_run(config) for _ in range(2)]
    for run in runs:
        run.write_config(config)
        finish_run(run, output_dir=config.output_dir)
    link = Path(config.output_dir) / "latest"
    assert not link.readlink().is_absolute()
    assert link.resolve() == runs[-1].path.resolve()
    moved = tmp_path / "elsewhere"
    shutil.move(config.output_dir, moved)
    assert json.loads((moved / "latest" / "results.json").read_text())["status"] == "finished"
    assert find_run(str(moved / "latest")).read_config() == config


def test_a_folder_named_latest_costs_the_link_only(config: Config) -> None:
    (Path(config.output_dir) / "latest").mkdir(parents=True)
    run = create_run(config)
    run.write_config(config)
    finish_run(run, output_dir=config.output_dir)
    assert find_run("latest", output_dir=config.output_dir) == run
    names = sorted(path.name for path in Path(config.output_dir).iterdir())
    assert names == [f"digits_resnet18_{ENGINES[0]}", "latest"]


def test_a_checkpoint_that_is_not_there_is_one_message(config: Config) -> None:
    run = create_run(config)
    with pytest.raises(RunError, match="has no best checkpoint"):
        run.checkpoint("best")
    run.checkpoints.mkdir()
    (run.checkpoints / "best.ckpt").touch()
    assert run.checkpoint("best") == run.checkpoints / "best.ckpt"


def test_a_discarded_run_takes_along_the_folder_that_was_made_for_it_alone(config: Config) -> None:
    discard_run(create_run(config))
    assert list(Path(config.output_dir).iterdir()) == []
    other = create_run(config)
    discard_run(create_run(config))
    assert [path.name for path in other.path.parent.iterdir()] == [other.path.name]
