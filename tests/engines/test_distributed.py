"""Several processes share one run: started by us, by the framework's launcher, on several machines, in a sweep."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from held_digits import HOLD_VARIABLE
from numpy.typing import NDArray

from mlstack.engines.factory import weight_files

from .conftest import Fit

pytestmark = pytest.mark.framework

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "scripts" / "train.py")
# Without coverage, which makes these processes twice as slow.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("COV")},
    "PYTHONPATH": str(ROOT / "tests" / "own_code"),
    "OMP_NUM_THREADS": "1",
}
# 90 pictures in batches of 16: the last two share 26, so that one rank has 7 and the other 6.
SETTINGS = {
    "data.args.train": 90,
    "data.augment.flip": 0.5,
    "data.augment.crop": 2,
    "model.learning_rate": 0.01,
    "model.optimizer": "sgd",
    "model.weight_decay": 0.0,
    "trainer.max_epochs": 7,
    "trainer.accumulate_grad_batches": 2,
    "trainer.steps_per_execution": 2,
}
COMMON = (
    "data.name=few_digits",
    "data.target=few_digits:load",
    "data.batch_size=8",
    "trainer.accelerator=cpu",
    "trainer.strategy=ddp",
)


def words(engine: str, folder: Path, **more: object) -> list[str]:
    own = (f"trainer.engine={engine}", f"model.target=tiny_networks_{engine}:tiny", f"output_dir={folder / 'outputs'}")
    return [*COMMON, *own, *(f"{key}={value}" for key, value in more.items())]


def launcher(engine: str) -> Any:
    """How the framework's own launcher is called."""
    return importlib.import_module(f"launchers_{engine}")


def start(*command: str, **more: str) -> subprocess.Popen[str]:
    environment = {**ENVIRONMENT, **more}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    """What a process said, once it has ended as expected."""
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == status, out + err
    return out


def only_run(folder: Path) -> Path:
    [run] = (folder / "outputs").glob("few_digits_*/*")
    return run


def validations(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["val_loss"]]


def weights(engine: str, run: Path) -> dict[str, NDArray[Any]]:
    return weight_files(engine).read_weights(run / "checkpoints" / "last.ckpt")


def assert_nothing_is_said_twice(said: str, *, epochs: int) -> None:
    assert sum(line.startswith("epoch") for line in said.splitlines()) == epochs
    for beginning in ("data  ", "model  ", "batch  ", "test  ", "training  ", "next  "):
        assert sum(line.startswith(beginning) for line in said.splitlines()) == 1, beginning


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_two_processes_share_one_run_and_learn_what_one_learns_from_batches_twice_as_large(
    engine: str, python: str, fit: Fit, tmp_path: Path
) -> None:
    said = ended(start(python, SCRIPT, *words(engine, tmp_path, **SETTINGS), "trainer.devices=2"))
    assert_nothing_is_said_twice(said, epochs=7)
    assert "8 × 2 devices × 2 accumulated = 32 images an optimizer step" in said

    run = only_run(tmp_path)
    facts = json.loads((run / "results.json").read_text())
    assert (facts["status"], facts["epochs"], facts["steps"], facts["world_size"]) == ("finished", 7, 21, 2)
    assert [row["step"] for row in validations(run)] == ["3", "6", "9", "12", "15", "18", "21"]

    settings = {key.replace(".", "__", 1): value for key, value in SETTINGS.items() if "args" not in key}
    settings = {key.replace(".", "__"): value for key, value in settings.items()}
    alone = fit(data__batch_size=16, data__args={"train": 90}, **settings)
    together = weights(engine, run)
    for name, value in weights(engine, alone.run.path).items():
        np.testing.assert_allclose(together[name], value, rtol=0, atol=1e-5, err_msg=name)
    losses = [float(row["val_loss"]) for row in validations(run)]
    assert losses == pytest.approx(alone.column("val_loss"), abs=1e-4)
    rows = [float(row["train_loss"]) for row in csv_rows(run) if row["train_loss"]]
    assert rows == pytest.approx(alone.column("train_loss"), abs=1e-4)


def csv_rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_launcher_on_two_machines_makes_one_run_whose_metrics_are_those_of_its_checkpoint(
    engine: str, python: str, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"trainer.max_epochs": 2, "model.args.norm": True, "trainer.ema_decay": 0.9}
    machines = [
        start(
            *launcher(engine).of_two_machines(python, rank, port=port, folder=tmp_path),
            SCRIPT,
            *words(engine, tmp_path, **settings),
        )
        for rank in range(2)
    ]
    said = [ended(machine) for machine in machines]
    assert_nothing_is_said_twice(said[0], epochs=2)
    assert said[1] == ""
    facts = json.loads((only_run(tmp_path) / "results.json").read_text())
    assert (facts["status"], facts["steps"], facts["world_size"]) == ("finished", 12, 2)
    best = validations(only_run(tmp_path))[facts["best_epoch"]]
    assert facts["metrics"]["val"]["loss"] == pytest.approx(float(best["val_loss"]), rel=1e-5)


def test_a_run_of_two_processes_stops_at_a_sigterm_with_a_checkpoint_and_goes_on_as_if_it_had_not(
    engine: str, python: str, tmp_path: Path
) -> None:
    def launched(*arguments: str) -> subprocess.Popen[str]:
        return start(*launcher(engine).of_two_processes(python, port=free_port(), folder=tmp_path), SCRIPT, *arguments)

    longer = {**SETTINGS, "data.args.train": 1400, "trainer.max_epochs": 3, "trainer.log_every_n_steps": 5}
    stopped = launched(*words(engine, tmp_path / "stopped", **longer))
    until_it_trains(tmp_path / "stopped", stopped)
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=120)
    assert stopped.returncode != 0
    run = only_run(tmp_path / "stopped")
    until_it_is_interrupted(run)
    assert 0 < steps(engine, run) < 3 * 44
    ended(launched(f"resume={run}"))

    ended(launched(*words(engine, tmp_path / "undisturbed", **longer)))
    reference = only_run(tmp_path / "undisturbed")
    for name, value in weights(engine, reference).items():
        np.testing.assert_array_equal(weights(engine, run)[name], value, err_msg=name)
    clock = ("images_per_second", "cpu_seconds")
    for row, expected in zip(csv_rows(run), csv_rows(reference), strict=True):
        assert {key: row[key] for key in row if key not in clock} == {
            key: expected[key] for key in row if key not in clock
        }


def test_a_job_of_two_processes_that_loses_one_goes_on_when_it_is_started_again(
    engine: str, python: str, tmp_path: Path
) -> None:
    note = tmp_path / "held"
    longer = {"data.target": "held_digits:load", "data.args.train": 384, "trainer.checkpoint_every_n_steps": 5}
    arguments = words(engine, tmp_path, **longer, **{"trainer.max_epochs": 2, "trainer.job": "digits"})

    def launched(**more: str) -> subprocess.Popen[str]:
        return start(
            *launcher(engine).of_two_processes(python, port=free_port(), folder=tmp_path), SCRIPT, *arguments, **more
        )

    stopped = launched(**{HOLD_VARIABLE: str(note)})
    while not note.exists():
        assert stopped.poll() is None, stopped.communicate()[1]
        time.sleep(0.01)
    os.kill(int(note.read_text()), signal.SIGKILL)
    stopped.communicate(timeout=120)
    assert stopped.returncode != 0
    ended(launched())
    run = only_run(tmp_path)
    [resumed] = [line for line in (run / "train.log").read_text().splitlines() if "  resume  " in line]
    assert "at epoch 2, " in resumed
    assert " 0 of its batches" not in resumed
    facts = json.loads((run / "results.json").read_text())
    assert (facts["status"], facts["steps"]) == ("finished", 48)


def steps(engine: str, run: Path) -> int:
    """Optimizer steps of the last checkpoint."""
    content = importlib.import_module(f"training_{engine}").state(run / "checkpoints" / "last.ckpt")
    return int(content["position"]["step"])


def until_it_is_interrupted(run: Path) -> None:
    """Wait for the processes that a launcher has started: Paddle's passes the signal on and is gone."""
    deadline = time.monotonic() + 60
    while (status := json.loads((run / "results.json").read_text())["status"]) != "interrupted":
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def until_it_trains(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait for the first row of metrics."""
    while not any((folder / "outputs").glob("few_digits_*/*/metrics.csv")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_a_sweep_of_distributed_runs_makes_a_folder_for_each(engine: str, python: str, tmp_path: Path) -> None:
    sweep = ["-m", "seed=1,2", "trainer.devices=2", "trainer.max_epochs=1", *words(engine, tmp_path)]
    said = ended(start(python, SCRIPT, *sweep))
    assert "2 jobs: 2 ok, 0 failed" in said
    runs = list((tmp_path / "outputs").glob("few_digits_*/*/results.json"))
    assert sorted(json.loads(path.read_text())["seed"] for path in runs) == [1, 2]
