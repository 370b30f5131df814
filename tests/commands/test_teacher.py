from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import few_digits
import numpy as np
import pytest

from mlstack.commands.train import train
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.config.trainer import ENGINES
from mlstack.engines.factory import weight_files
from mlstack.errors import ConfigError, RunError
from mlstack.runs import RunFolder, find_run

pytestmark = pytest.mark.framework

Configure = Callable[..., Config]
with_one_engine = pytest.mark.parametrize("engine", ENGINES[:1], indirect=True)


def trained_run(config: Config) -> RunFolder:
    """Train; the run that has come to be."""
    before = set(runs_in(config.output_dir))
    train(config)
    [path] = set(runs_in(config.output_dir)) - before
    return RunFolder(path)


def runs_in(output_dir: str) -> list[Path]:
    return list(Path(output_dir).glob("*_*/*"))


def resumed(run: RunFolder, *words: str, output_dir: str) -> None:
    """`scripts/train.py resume=…` in this process."""
    train(compose(Config, [f"resume={run.path}", f"output_dir={output_dir}", *words], base=run.config_path))


@pytest.fixture
def teacher(configure: Configure) -> RunFolder:
    return trained_run(configure(trainer__max_epochs=1, model__args={"norm": True}))


def test_results_say_who_taught_how_much_and_at_which_temperature(teacher: RunFolder, configure: Configure) -> None:
    run = trained_run(configure(distill__teacher="latest", distill__temperature=2.0, distill__weight=0.75))
    assert "distill" not in teacher.read_results()
    facts = run.read_results()["distill"]
    assert len(facts.pop("checkpoint_sha256")) == 64
    assert facts == {
        "teacher": str(teacher.path),
        "teacher_parameters": teacher.read_results()["parameters"],
        "temperature": 2.0,
        "weight": 0.75,
    }
    assert run.read_config().distill.teacher == str(teacher.path)
    assert f"teacher     {teacher.path}, weight 0.75, temperature 2" in run.log_path.read_text(encoding="utf-8")


def test_a_run_that_was_stopped_ends_as_one_that_was_not_wherever_its_teacher_has_gone(
    teacher: RunFolder, configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "distill__teacher": str(teacher.path),
        "trainer__quantization_aware": True,
        "trainer__checkpoint_every_n_steps": 1,  # a run that goes on begins in the middle of an epoch
    }
    whole = trained_run(configure(**settings))
    config = configure(**settings, data__target="few_digits:interrupting")
    outputs = config.output_dir
    before = set(runs_in(outputs))
    with pytest.raises(KeyboardInterrupt):
        train(config)
    [path] = set(runs_in(outputs)) - before
    stopped, moved = RunFolder(path), tmp_path / "moved"
    monkeypatch.setattr(few_digits, "interrupting", few_digits.load)
    shutil.move(teacher.path, moved)

    with pytest.raises(RunError, match=r"^distill\.teacher=.*no run folder there") as caught:
        resumed(stopped, output_dir=outputs)
    assert f"resume={stopped.path} distill.teacher=<its new place>" in caught.value.hint

    resumed(stopped, f"distill.teacher={moved}", output_dir=outputs)
    assert stopped.read_config().distill.teacher == stopped.read_results()["distill"]["teacher"] == str(moved)
    read = weight_files(whole.read_config().trainer.engine).read_weights
    one, other = (read(run.checkpoint("last")) for run in (whole, stopped))
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@with_one_engine
def test_a_run_goes_on_with_the_teacher_that_it_began_with(teacher: RunFolder, configure: Configure) -> None:
    other = trained_run(configure(trainer__max_epochs=1, seed=1))
    config = configure(distill__teacher=str(teacher.path), trainer__max_steps=2)
    run = trained_run(config)
    with pytest.raises(RunError, match=r"its best checkpoint is not the one that .* began to learn from"):
        resumed(run, "trainer.max_steps=4", f"distill.teacher={other.path}", output_dir=config.output_dir)
    with pytest.raises(ConfigError, match=r"distill.teacher=None can't be changed while a run goes on"):
        resumed(run, "trainer.max_steps=4", "distill.teacher=null", output_dir=config.output_dir)
    with pytest.raises(ConfigError, match=r"distill.teacher=.* can't be changed while a run goes on; it was None"):
        resumed(other, "trainer.max_epochs=2", f"distill.teacher={teacher.path}", output_dir=config.output_dir)


@with_one_engine
def test_the_latest_teacher_is_no_student(teacher: RunFolder, configure: Configure) -> None:
    first = trained_run(configure(distill__teacher="latest", trainer__max_steps=1))
    second = trained_run(configure(distill__teacher="latest", trainer__max_steps=1))
    assert find_run("latest", output_dir=configure().output_dir) == second
    assert {run.read_config().distill.teacher for run in (first, second)} == {str(teacher.path)}


@with_one_engine
def test_no_teacher_no_run(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"^distill\.teacher=latest: no finished run of trainer\.engine=\w+ without a teacher in"
    ):
        train(configure(distill__teacher="latest"))
    with pytest.raises(RunError, match=r"^distill\.teacher=.*nowhere: no run folder there"):
        train(configure(distill__teacher=str(tmp_path / "nowhere")))
    assert not Path(configure().output_dir).exists()


@with_one_engine
@pytest.mark.parametrize(
    ("section", "key", "value", "difference"),
    [
        ("data", "classes", [*"0123456798"], "its class 8 is 9, this run's 8"),
        ("data", "classes", [*"012345678"], "its number of classes is 9, this run's 10"),
        ("data", "channels", 3, "its data.channels is 3, this run's 1"),
        ("data", "task", "multilabel", "its data.task is multilabel, this run's classification"),
    ],
)
def test_a_teacher_of_something_else_is_refused(
    section: str, key: str, value: Any, difference: str, teacher: RunFolder, configure: Configure
) -> None:
    other = teacher.read_config()
    setattr(getattr(other, section), key, value)
    teacher.write_config(other)
    with pytest.raises(ConfigError, match=difference):
        train(configure(distill__teacher=str(teacher.path)))
    assert runs_in(other.output_dir) == [teacher.path]


@with_one_engine
def test_a_teacher_of_another_framework_has_to_be_converted(teacher: RunFolder, configure: Configure) -> None:
    other = teacher.read_config()
    other.trainer.engine = "another"
    teacher.write_config(other)
    with pytest.raises(ConfigError, match=r"its network is of trainer\.engine=another") as caught:
        train(configure(distill__teacher=str(teacher.path)))
    assert f"python scripts/convert.py run={teacher.path} engine={ENGINES[0]}" in caught.value.hint
