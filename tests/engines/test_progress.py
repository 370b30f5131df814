from __future__ import annotations

import io

import pytest

from mlstack.engines.progress import Stopwatch, epoch_line

from .conftest import Fit

pytestmark = pytest.mark.framework


class Terminal(io.StringIO):
    """A screen that remembers."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_with_images_a_second_and_the_time_left(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    fit(trainer__progress_bar=True)
    shown = screen.getvalue()
    assert "epoch 2/2" in shown
    assert "images/s" in shown
    assert "left" in shown
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split("   ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]


def test_a_file_gets_one_line_an_epoch_and_no_bar(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    fit(trainer__progress_bar=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 2


def test_an_interrupted_run_closes_its_bar(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with pytest.raises(KeyboardInterrupt):
        fit(data__target="few_digits:interrupting", trainer__progress_bar=True)
    assert screen.getvalue().endswith("\r")


def test_switched_off_it_is_silent(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    fit(trainer__progress_bar=False)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_epoch_in_one_line() -> None:
    row = {
        "train_loss": 0.214,
        "train_accuracy": 0.931,
        "val_loss": 0.5,
        "val_accuracy": 0.8,
        "images_per_second": 1350.4,
    }
    assert epoch_line(3, 10, row) == (
        "epoch  3/10   train loss 0.2140 accuracy 0.9310   val loss 0.5000 accuracy 0.8000   1,350 images/s"
    )


def test_a_diverged_epoch_still_has_its_line() -> None:
    row = {"train_loss": float("nan"), "train_accuracy": 0.1, "val_accuracy": 0.1, "images_per_second": 5.0}
    scores = "train loss nan accuracy 0.1000   val loss nan accuracy 0.1000"
    assert epoch_line(1, 1, row) == f"epoch 1/1   {scores}   5 images/s"


def test_before_the_first_epoch_there_is_no_speed() -> None:
    assert Stopwatch().images_per_second == 0
