from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from mlstack.config import TrainerConfig
from mlstack.engines.lightning.checkpoints import Checkpoints
from mlstack.errors import OutputError

from .conftest import Fit

pytestmark = pytest.mark.framework


@dataclasses.dataclass
class Epochs:
    """What the callback needs of a Trainer: an epoch that ends with a score, and weights to save."""

    current_epoch: int = 0
    check_val_every_n_epoch: int = 1
    is_global_zero: bool = True
    global_step: int = 0
    callback_metrics: dict[str, Any] = dataclasses.field(default_factory=dict)

    def save_checkpoint(self, path: Path) -> None:
        path.write_text(f"weights of epoch {self.current_epoch}")


class Quiet:
    """What the callback needs of a training module: nothing to look at before it is saved."""

    def before_save(self) -> None: ...

    def end_epoch(self) -> None: ...


def run(folder: Path, scores: list[float], **settings: Any) -> Checkpoints:
    """Let epochs end with these scores of the monitored metric."""
    config = TrainerConfig(**settings)
    epochs, checkpoints = Epochs(), Checkpoints(folder, config)
    for epochs.current_epoch, score in enumerate(scores):
        epochs.callback_metrics = {config.monitor: torch.tensor(score)}
        checkpoints.on_train_epoch_end(epochs, Quiet())  # type: ignore[arg-type]
    return checkpoints


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
    checkpoints = run(tmp_path, [0.5, 0.9, 0.2, 0.7], monitor="val_loss", mode="min", save_top_k=1)
    assert weights(tmp_path) == {"best.ckpt": "epoch 2", "epoch_2.ckpt": "epoch 2", "last.ckpt": "epoch 3"}
    assert checkpoints.best == (2, pytest.approx(0.2))


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


def test_a_full_disk_is_one_message_and_leaves_no_half_written_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: Epochs, path: Path) -> None:
        path.write_text("weig")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Epochs, "save_checkpoint", save)
    with pytest.raises(OutputError, match=r"epoch_0\.ckpt can't be written: No space left on device"):
        run(tmp_path, [0.5], mode="max")
    assert weights(tmp_path) == {}


def test_only_rank_0_names_checkpoints(tmp_path: Path) -> None:
    epochs, checkpoints = Epochs(is_global_zero=False), Checkpoints(tmp_path, TrainerConfig(mode="max"))
    checkpoints.on_train_epoch_end(epochs, Quiet())  # type: ignore[arg-type]
    assert list(weights(tmp_path)) == [".epoch_0.ckpt"]


def test_a_checkpoint_is_written_whenever_so_many_steps_are_over(tmp_path: Path) -> None:
    epochs, checkpoints = Epochs(), Checkpoints(tmp_path, TrainerConfig(mode="max", checkpoint_every_n_steps=5))
    checkpoints.on_train_start(epochs, None)  # type: ignore[arg-type]
    saved = []
    for epochs.global_step in range(2, 24, 3):  # three steps a turn
        (tmp_path / "last.ckpt").unlink(missing_ok=True)
        checkpoints.on_train_batch_end(epochs, Quiet())  # type: ignore[arg-type]
        saved += [epochs.global_step] if (tmp_path / "last.ckpt").exists() else []
    assert saved == [5, 11, 17, 20]


def test_a_run_that_goes_on_completes_what_the_one_before_it_could_not(tmp_path: Path) -> None:
    first = run(tmp_path, [0.5, 0.9, 0.7], mode="max")
    (tmp_path / "last.ckpt").unlink()
    (tmp_path / "best.ckpt").unlink()
    (tmp_path / "epoch_0.ckpt").unlink()
    (tmp_path / "epoch_7.ckpt").write_text("weights of epoch 7")  # later than the checkpoint that it goes on from
    settings = TrainerConfig(mode="max")
    second = Checkpoints(tmp_path, settings, resumed_from=tmp_path / "epoch_2.ckpt")
    second.load_state_dict(first.state_dict())
    assert weights(tmp_path) == {
        "best.ckpt": "epoch 1",
        "epoch_1.ckpt": "epoch 1",
        "epoch_2.ckpt": "epoch 2",
        "last.ckpt": "epoch 2",
    }


def test_scores_travel_with_the_checkpoint(tmp_path: Path) -> None:
    first = run(tmp_path, [0.5, 0.9], mode="max")
    second = Checkpoints(tmp_path, TrainerConfig(mode="max"))
    second.load_state_dict(first.state_dict())
    assert second.best == first.best


@pytest.mark.parametrize(("monitor", "better"), [("val_loss", min), ("val_accuracy", max)])
def test_a_run_finds_its_best_checkpoint_by_the_monitored_metric(monitor: str, better: Any, fit: Fit) -> None:
    fitted = fit(trainer__monitor=monitor, trainer__max_epochs=4, model__learning_rate=0.3, trainer__save_top_k=4)
    scores = fitted.column(monitor)
    assert fitted.result.best_score == pytest.approx(better(scores), rel=1e-4)
    assert fitted.result.best_epoch is not None
    assert scores[fitted.result.best_epoch] == better(scores)
    best, epoch = fitted.weights("best"), fitted.weights(f"epoch_{fitted.result.best_epoch}")
    assert all(value.equal(epoch[name]) for name, value in best.items())


def test_a_run_leaves_no_temporary_file(fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=3, trainer__monitor="val_loss", trainer__save_top_k=1)
    names = {path.name for path in fitted.run.checkpoints.iterdir()}
    assert names == {"best.ckpt", "last.ckpt", f"epoch_{fitted.result.best_epoch}.ckpt"}


def test_a_checkpoint_holds_plain_data_only(fit: Fit) -> None:
    content = fit(trainer__max_epochs=1).checkpoint("last")  # torch.load(…, weights_only=True)
    assert {"state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"} <= set(content)
