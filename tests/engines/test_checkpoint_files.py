from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from mlstack.config import TrainerConfig
from mlstack.engines.checkpoint_files import CheckpointFolder
from mlstack.errors import OutputError


def run(path: Path, scores: list[float], **settings: Any) -> CheckpointFolder:
    """Let epochs end with these scores of the monitored metric."""
    folder = CheckpointFolder(path, TrainerConfig(**settings))
    for epoch, score in enumerate(scores):
        name = folder.rank(epoch, score)
        folder.save(name, lambda path, epoch=epoch: save(path, epoch))  # type: ignore[misc]
        folder.link(name)
    return folder


def save(path: Path, epoch: int) -> None:
    path.write_text(f"weights of epoch {epoch}")


def weights(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().removeprefix("weights of ") for path in sorted(folder.iterdir())}


def test_the_best_few_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    run(tmp_path, [0.5, 0.9, 0.7, 0.8, 0.6], mode="max", save_top_k=2)
    assert weights(tmp_path) == {
        "best.ckpt": "epoch 1",
        "epoch_1.ckpt": "epoch 1",
        "epoch_3.ckpt": "epoch 3",
        "last.ckpt": "epoch 4",
    }


def test_less_is_better_where_the_mode_says_so(tmp_path: Path) -> None:
    folder = run(tmp_path, [0.5, 0.9, 0.2, 0.7], monitor="val_loss", mode="min", save_top_k=1)
    assert weights(tmp_path) == {"best.ckpt": "epoch 2", "epoch_2.ckpt": "epoch 2", "last.ckpt": "epoch 3"}
    assert folder.best == (2, pytest.approx(0.2))


def test_of_equal_scores_the_newer_one_is_the_best(tmp_path: Path) -> None:
    assert run(tmp_path, [0.5, 0.5, 0.4], mode="max").best == (1, 0.5)
    assert weights(tmp_path)["best.ckpt"] == "epoch 1"


def test_an_epoch_whose_score_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    assert run(tmp_path, [math.nan, 0.4, math.nan], mode="max").best == (1, pytest.approx(0.4))
    assert weights(tmp_path) == {"best.ckpt": "epoch 1", "epoch_1.ckpt": "epoch 1", "last.ckpt": "epoch 2"}


def test_before_the_first_score_the_last_weights_are_the_best(tmp_path: Path) -> None:
    assert run(tmp_path, [math.nan], mode="max").best is None
    assert weights(tmp_path) == {"best.ckpt": "epoch 0", "last.ckpt": "epoch 0"}


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    run(tmp_path, [0.5, 0.4], mode="max", save_top_k=1)
    assert weights(tmp_path) == {"best.ckpt": "epoch 0", "epoch_0.ckpt": "epoch 0", "last.ckpt": "epoch 1"}


def test_a_full_disk_is_one_message_and_leaves_no_half_written_file(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("weig")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"epoch_0\.ckpt can't be written: No space left on device"):
        CheckpointFolder(tmp_path, TrainerConfig()).save("epoch_0.ckpt", write)
    assert weights(tmp_path) == {}


@pytest.mark.parametrize("variable", ["RANK", "PADDLE_TRAINER_ID", "LOCAL_RANK"])
def test_only_rank_0_names_checkpoints(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    CheckpointFolder(tmp_path, TrainerConfig()).save("epoch_0.ckpt", lambda path: save(path, 0))
    assert list(weights(tmp_path)) == [".epoch_0.ckpt"]


def test_a_checkpoint_is_due_whenever_so_many_steps_are_over(tmp_path: Path) -> None:
    folder, saved = CheckpointFolder(tmp_path, TrainerConfig(checkpoint_every_n_steps=5)), []
    for step in range(2, 24, 3):  # three steps a turn
        if folder.is_due(step):
            folder.saved_step = step
            saved.append(step)
    assert saved == [5, 11, 17, 20]
    assert not CheckpointFolder(tmp_path, TrainerConfig(checkpoint_every_n_steps=None)).is_due(1000)


def test_a_run_that_goes_on_completes_what_the_one_before_it_could_not(tmp_path: Path) -> None:
    first = run(tmp_path, [0.5, 0.9, 0.7], mode="max")
    (tmp_path / "last.ckpt").unlink()
    (tmp_path / "best.ckpt").unlink()
    (tmp_path / "epoch_0.ckpt").unlink()
    (tmp_path / "epoch_7.ckpt").write_text("weights of epoch 7")  # later than the checkpoint that it goes on from
    settings = TrainerConfig(mode="max")
    second = CheckpointFolder(tmp_path, settings, resumed_from=tmp_path / "epoch_2.ckpt")
    second.load_state_dict(first.state_dict())
    assert weights(tmp_path) == {
        "best.ckpt": "epoch 1",
        "epoch_1.ckpt": "epoch 1",
        "epoch_2.ckpt": "epoch 2",
        "last.ckpt": "epoch 2",
    }


def test_scores_travel_with_the_checkpoint(tmp_path: Path) -> None:
    first = run(tmp_path, [0.5, 0.9], mode="max")
    second = CheckpointFolder(tmp_path, TrainerConfig(mode="max"))
    second.load_state_dict(first.state_dict())
    assert second.best == first.best
