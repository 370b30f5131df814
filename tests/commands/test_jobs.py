"""The same command again: when it goes on with a run, and when it begins a new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import few_digits
import pytest

from mlstack.commands.jobs import LAUNCHER_VARIABLE, job_of
from mlstack.commands.train import train
from mlstack.config import Config
from mlstack.engines.factory import weight_files
from mlstack.runs import RunFolder

pytestmark = pytest.mark.framework

Configure = Callable[..., Config]
Attempt = Callable[..., list[RunFolder]]


@pytest.fixture
def attempt(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """`attempt(reads=…)`: train as a job called `night`, and give all runs that are there, oldest first.

    With `reads` it breaks off when training pictures have been read so many times: twice to derive settings of a new
    run, then 6 times an epoch.
    """
    load = few_digits.load

    def attempt(reads: int | None = None, **overrides: Any) -> list[RunFolder]:
        settings = {"trainer__job": "night", "trainer__max_epochs": 3, "data__batch_size": 16, **overrides}
        config = configure(**settings)

        def breaking(config: Any) -> Any:
            monkeypatch.setattr(few_digits, "load", load)
            return load(config) if reads is None else few_digits._failing(config, RuntimeError, after=reads)

        monkeypatch.setattr(few_digits, "load", breaking)
        if reads is None:
            train(config)
        else:
            with pytest.raises(RuntimeError, match="stopped on purpose"):
                train(config)
        runs = [RunFolder(path.parent) for path in Path(config.output_dir).glob("*_*/*/config.yaml")]
        return sorted(runs, key=lambda run: run.started)

    return attempt


def resumptions(run: RunFolder) -> list[str]:
    lines = run.log_path.read_text().splitlines()
    return [line.partition("  resume      ")[2] for line in lines if "  resume  " in line]


def test_a_job_that_is_started_again_ends_as_if_it_had_not_broken_off(attempt: Attempt, engine: str) -> None:
    [broken] = attempt(reads=11)
    assert broken.read_results()["status"] == "failed"
    [again] = attempt(reads=9)
    [run] = attempt()
    assert run == again == broken
    assert resumptions(run) == [
        "at epoch 2, 0 of its batches done, 6 optimizer steps in all",
        "at epoch 3, 0 of its batches done, 12 optimizer steps in all",
    ]
    assert run.read_results()["status"] == "finished"
    _, undisturbed = attempt(trainer__job="another")
    read = weight_files(engine).read_weights
    expected = read(undisturbed.checkpoint("last"))
    assert {name: value.tobytes() for name, value in read(run.checkpoint("last")).items()} == {
        name: value.tobytes() for name, value in expected.items()
    }


def test_a_job_that_broke_off_before_its_first_checkpoint_begins_anew_in_the_same_folder(attempt: Attempt) -> None:
    [broken] = attempt(reads=4)
    assert not broken.has_checkpoint
    assert attempt() == [broken]
    assert resumptions(broken) == ["from the beginning: there was no checkpoint yet"]


def test_a_job_that_has_finished_is_a_new_run_when_its_name_is_used_again(attempt: Attempt) -> None:
    [first] = attempt(trainer__max_epochs=1)
    assert len(attempt(trainer__max_epochs=1)) == 2
    assert resumptions(first) == []


def test_a_job_with_other_settings_is_a_new_run_and_says_so(
    attempt: Attempt, capsys: pytest.CaptureFixture[str]
) -> None:
    [broken] = attempt(reads=11)
    assert len(attempt(seed=1)) == 2
    said = capsys.readouterr().out
    assert f"job         night: {broken.path} is unfinished and has other settings: a new run begins" in said


def test_what_may_change_while_a_run_goes_on_may_change_between_two_starts_of_a_job(attempt: Attempt) -> None:
    attempt(reads=11)
    [run] = attempt(trainer__max_epochs=2, data__prefetch_factor=3)
    assert run.read_results()["epochs"] == 2
    assert run.read_config().data.prefetch_factor == 3


def test_without_a_name_every_start_is_a_run_of_its_own(attempt: Attempt) -> None:
    attempt(reads=11, trainer__job=None)
    assert len(attempt(trainer__job=None, trainer__max_epochs=1)) == 2


def test_a_job_has_the_name_that_it_was_given_or_that_of_the_launcher(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(**overrides: Any) -> str | None:
        job = job_of(configure(**overrides))
        return job.name if job else None

    assert name() is None
    monkeypatch.setenv(LAUNCHER_VARIABLE, "none")  # torchrun without --rdzv-id
    assert name() is None
    monkeypatch.setenv(LAUNCHER_VARIABLE, "2718")
    assert name() == "2718"
    assert name(trainer__job="night") == "night"
    assert name(resume="latest") is None
    assert name(trainer__fast_dev_run=True) is None
