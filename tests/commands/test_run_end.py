"""However a run ends, results.json says how, and what the training has made is not lost."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlstack.commands import conclusion, run_end
from mlstack.commands.run_end import end_recorded
from mlstack.errors import DataError, OutputError, RunError
from mlstack.reports import learning_curves
from mlstack.runs import RunFolder, find_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """One that has begun and has a checkpoint."""
    folder = RunFolder(tmp_path / "run")
    folder.update_results(status="running")
    folder.checkpoints.mkdir()
    (folder.checkpoints / "last.ckpt").touch()
    return folder


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(143), "interrupted"),
        (RuntimeError("a bug"), "failed"),
        (DataError("a broken picture"), "failed"),
    ],
)
def test_each_end_is_written_down_with_its_error(error: BaseException, status: str, run: RunFolder) -> None:
    with pytest.raises(type(error)), end_recorded(run, is_new=True):
        raise error
    results = run.read_results()
    assert (results["status"], results["error"]) == (status, f"{type(error).__name__}: {error}")
    assert not (run.path / run_end.RESERVE).exists()


def test_a_run_that_had_not_begun_keeps_the_end_that_it_had(run: RunFolder) -> None:
    run.update_results(status="finished")
    with pytest.raises(DataError), end_recorded(run, is_new=False):
        raise DataError("other data than it began with")
    assert run.read_results() == {"status": "finished"}


def test_a_mistake_before_anything_was_trained_leaves_no_folder(run: RunFolder) -> None:
    (run.checkpoints / "last.ckpt").unlink()
    with pytest.raises(DataError), end_recorded(run, is_new=True):
        raise DataError("no picture can be read")
    assert not run.path.exists()


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while file.write(b"0" * 512):
            pass


def test_a_disk_that_is_full_still_holds_how_the_run_ended(small_disk: Path) -> None:
    run = RunFolder(small_disk / "run")
    run.update_results(status="running", facts="f" * 3000)
    run.metrics_path.touch()
    with contextlib.suppress(OutputError), end_recorded(run, is_new=True):
        fill(small_disk)
        run.update_results(metrics={})
    results = run.read_results()
    assert results["status"] == "failed"
    assert "No space left on device" in results["error"]


def test_a_disk_that_is_full_before_the_run_is_one_message(small_disk: Path) -> None:
    run = RunFolder(small_disk / "run")
    run.update_results(status="running")
    fill(small_disk)
    with pytest.raises(OutputError, match="No space left on device"), end_recorded(run, is_new=False):
        pytest.fail("the block is not reached")


@pytest.fixture
def nobody_handles_sigterm() -> Iterator[None]:
    """As in a process that has just started; other tests' libraries may have left a handler in this one."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("nobody_handles_sigterm")
def test_a_sigterm_that_nobody_handles_is_an_end_too(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, end_recorded(run, is_new=True):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert run.read_results()["status"] == "interrupted"
    assert f"resume={run.path}" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


CLOSING = """
import signal, sys, time
from pathlib import Path
from mlstack.commands.run_end import end_recorded
from mlstack.runs import RunFolder

signal.signal(signal.SIGHUP, signal.Handlers[sys.argv[2]])  # whatever the tests have inherited
with end_recorded(RunFolder(Path(sys.argv[1])), is_new=True):
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("inherited", "status", "code"), [("SIG_DFL", "interrupted", 129), ("SIG_IGN", "running", -9)])
def test_a_terminal_that_closes_is_an_end_unless_nohup_says_otherwise(
    inherited: str, status: str, code: int, run: RunFolder
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", CLOSING, str(run.path), inherited]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    said = b""
    while b"\n" not in said:
        said += os.read(ours, 100)
    os.close(ours)
    process.send_signal(signal.SIGHUP)  # what the kernel sends to a session whose terminal is gone
    if inherited == "SIG_IGN":
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.kill()
    assert process.wait(timeout=20) == code
    assert run.read_results()["status"] == status


# With a real training, and each engine.


@pytest.fixture
def train(configure: Callable[..., Any]) -> Callable[..., RunFolder]:
    """Trains with these settings and returns the run folder, also where that ends in an error."""
    from mlstack.commands.train import train

    def training(*, disk: Path | None = None, **settings: Any) -> RunFolder:
        config = configure(trainer__max_epochs=1, **settings)
        config.output_dir = str(disk / "outputs") if disk else config.output_dir
        with contextlib.suppress(DataError, OutputError, SystemExit):
            train(config)
        [path] = Path(config.output_dir).glob(f"*_{config.trainer.engine}/*")
        return RunFolder(path)

    return training


def resume(run: RunFolder) -> None:
    from mlstack.commands.train import train
    from mlstack.config import Config
    from mlstack.config.compose import compose

    train(compose(Config, [f"resume={run.path}", f"output_dir={outputs(run)}"], base=run.config_path))


def outputs(run: RunFolder) -> Path:
    return run.path.parent.parent


def latest(run: RunFolder) -> RunFolder:
    return find_run("latest", output_dir=outputs(run))


@pytest.mark.figures
@pytest.mark.framework
def test_a_loss_without_a_label_and_a_figure_that_raises_cost_a_line_at_most(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(learning_curves.LOSS_LABELS, "cross_entropy")
    broken = [("confusion_matrix", {}.popitem)]
    monkeypatch.setattr(conclusion, "split_figures", lambda *_, **__: broken)
    run = train()
    assert (run.read_results()["status"], latest(run)) == ("finished", run)
    said = capsys.readouterr().out
    assert "warning: figure confusion_matrix could not be drawn: KeyError: 'popitem(): dictionary is empty'" in said
    assert [path.stem for path in run.figures.glob("*.png")] == ["learning_curves"]
    assert "next        python scripts/eval.py" in said


@pytest.mark.framework
def test_a_tracker_that_fails_at_the_end_costs_a_line(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise KeyError("a bug of the tracker's")

    monkeypatch.setattr("mlstack.trackers.tensorboard_tracker.TensorBoard.record_end", failing)
    run = train(tracker="tensorboard")
    assert latest(run) == run
    assert "warning: the tracker's record could not be ended: KeyError" in capsys.readouterr().out


@pytest.mark.framework
def test_a_test_picture_that_breaks_costs_nothing_but_its_metrics(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import few_digits

    monkeypatch.setattr(few_digits, "TEST_PICTURES_ARE_BROKEN", True)
    run = train(data__target="few_digits:breaking")
    results = run.read_results()
    assert (results["status"], results["error"]) == ("failed", "DataError: stopped on purpose")
    assert set(results["metrics"]) == {"val"}
    assert results["images_per_second"] > 0
    assert f"resume={run.path}" in capsys.readouterr().out
    with pytest.raises(RunError, match="no finished run"):
        latest(run)

    monkeypatch.setattr(few_digits, "TEST_PICTURES_ARE_BROKEN", False)
    resume(run)
    results = run.read_results()
    assert (results["status"], results["error"], set(results["metrics"])) == ("finished", None, {"val", "test"})
    assert latest(run) == run


@pytest.mark.framework
def test_a_disk_that_fills_after_the_training_is_told_and_the_run_ends_well_when_there_is_room(
    small_disk: Path,
    train: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure = conclusion.measure

    def filling(*arguments: Any, **words: Any) -> Any:
        fill(small_disk)
        return measure(*arguments, **words)

    monkeypatch.setattr(conclusion, "measure", filling)
    run = train(disk=small_disk)
    results = run.read_results()
    assert results["status"] == "failed"
    assert "No space left on device" in results["error"]
    said = capsys.readouterr()
    assert f"resume={run.path}" in said.out
    assert "Traceback" not in said.err

    monkeypatch.setattr(conclusion, "measure", measure)
    (small_disk / "ballast").unlink()
    resume(run)
    assert (run.read_results()["status"], latest(run)) == ("finished", run)


@pytest.mark.figures
@pytest.mark.framework
def test_a_disk_that_fills_before_the_figures_costs_the_figures(
    small_disk: Path,
    train: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw = conclusion.draw
    monkeypatch.setattr(conclusion, "split_figures", lambda *_, **__: [])

    def filling(*arguments: Any) -> None:
        fill(small_disk)
        draw(*arguments)

    monkeypatch.setattr(conclusion, "draw", filling)
    run = train(disk=small_disk, tracker="tensorboard")
    assert latest(run) == run
    assert list(run.figures.glob("*")) == []
    said = capsys.readouterr()
    assert said.out.count("could not be drawn: ") == 1
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("nobody_handles_sigterm")
@pytest.mark.framework
def test_a_sigterm_while_the_run_is_measured_is_written_down(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = conclusion.measure
    monkeypatch.setattr(conclusion, "measure", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    run = train()
    assert run.read_results()["status"] == "interrupted"
    monkeypatch.setattr(conclusion, "measure", measure)
    resume(run)
    assert latest(run) == run
