from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlstack import runs
from mlstack.config import Config, sweep
from mlstack.config.compose import expand_sweep
from mlstack.errors import ConfigError

START = """
from mlstack.config import Config
from mlstack.config.command_line import run

if __name__ == "__main__":
    run("job:job", Config)
"""
JOB = """
import os, sys, time

def job(config):
    print("job", os.getpid(), config.model.name, config.data.name, config.seed, ascii(config.data.path), flush=True)
    if config.output_dir == "slow":
        time.sleep(60)
    if config.seed == 2:
        raise RuntimeError("this one dies")
"""
TRAINING = """
import dataclasses
from mlstack.runs import create_run, record_run

def job(config):
    config.trainer.monitor, config.trainer.mode = "val_accuracy", "max"
    run = create_run(config)
    record_run(run)
    run.write_config(config)
    scores = {"loss": 0.5, "accuracy": config.seed / 10}
    status = "failed" if config.seed == 2 else "finished"
    run.update_results(status=status, metrics={"test": scores}, cpu_seconds=3.0, images_per_second=50.0)
    run.metrics_path.write_text(f"epoch,step,val_accuracy\\n0,10,{config.seed / 10}\\n")
"""


@pytest.fixture
def start(own_folder: Path, tmp_path: Path) -> list[str]:
    (own_folder / "job.py").write_text(JOB)
    script = tmp_path / "start.py"
    script.write_text(START)
    return [sys.executable, str(script), "-cd", str(own_folder), "-m"]


def test_every_job_runs_in_a_process_of_its_own_and_one_failure_stops_none(start: list[str], tmp_path: Path) -> None:
    words = ["model=resnet18,mobilenet_v3", "data=digits", "seed=1,2", "data.path='a, b'"]
    done = subprocess.run([*start, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    jobs = [line.split() for line in done.stdout.splitlines() if line.startswith("job ")]
    assert done.returncode == 1
    assert [(job[2], job[4]) for job in jobs] == [
        ("resnet18", "1"),
        ("resnet18", "2"),
        ("mobilenet_v3_large", "1"),
        ("mobilenet_v3_large", "2"),
    ]
    assert len({job[1] for job in jobs}) == 4
    assert all(" ".join(job[5:]) == "'a, b'" for job in jobs)
    assert "[3/4] model=mobilenet_v3 data=digits seed=1" in done.stdout
    assert "4 jobs: 2 ok, 2 failed" in done.stdout
    assert "[2/4] failed, exit status 1: model=resnet18" in done.stdout


def test_a_mistake_in_one_job_is_found_before_any_job_starts(start: list[str], tmp_path: Path) -> None:
    words = ["trainer.max_epochs=1,0", "seed=1"]
    done = subprocess.run([*start, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "trainer.max_epochs=0" in done.stderr


def test_a_sweep_over_seeds_ends_with_mean_and_deviation_and_a_figure(
    start: list[str], own_folder: Path, tmp_path: Path
) -> None:
    (own_folder / "job.py").write_text(TRAINING)
    words = ["data=digits", "model.optimizer=sgd,adam", "seed=1,2,3"]
    done = subprocess.run([*start, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "sgd 2 0.5000 ± 0.0000 0.2000 ± 0.1414 3.0000 ± 0.0000 50.00 ± 0.00" in lines
    [summary] = (tmp_path / "outputs" / "sweeps").glob("*/summary.json")
    assert [group["seeds"] for group in json.loads(summary.read_text())["groups"]] == [[1, 3], [1, 3]]
    assert summary.with_name("comparison.png").is_file()


def test_a_sweep_that_trains_nothing_leaves_no_file(start: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*start, "seed=1,3"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "outputs").exists()
    assert done.stdout.splitlines()[-1] == "  [2/2] ok: seed=3"


def test_the_name_of_the_record_is_that_under_which_runs_know_it() -> None:
    assert sweep.RUN_RECORD_VARIABLE == runs.RUN_RECORD_VARIABLE


def test_a_sweep_under_torchrun_is_refused_in_one_line(start: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "TORCHELASTIC_RUN_ID": "none"}
    done = subprocess.run(
        [*start, "seed=1,3"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --multirun does not work under torchrun")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("sent", "to_all", "status"),
    [(signal.SIGINT, True, 130), (signal.SIGINT, False, 130), (signal.SIGTERM, False, 143)],
    ids=["Ctrl-C in a terminal", "kill -INT", "SIGTERM"],
)
def test_a_signal_ends_the_sweep_and_leaves_no_job_behind_whatever_it_inherited(
    sent: signal.Signals, to_all: bool, status: int, start: list[str], tmp_path: Path
) -> None:
    in_the_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # as a shell without job control starts it
    words = [*in_the_background, *start, "output_dir=slow", "seed=1,3"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    lines = iter(process.stdout.readline, "")
    job = int(next(line.split()[1] for line in lines if line.startswith("job ")))
    if to_all:
        os.killpg(process.pid, sent)
    else:
        process.send_signal(sent)
    rest = "".join(lines)
    assert process.wait(timeout=30) == status
    process.stdout.close()
    assert "job " not in rest
    assert not is_running(job)


def is_running(process: int) -> bool:
    for _ in range(50):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def expand(*overrides: str) -> list[list[str]]:
    return expand_sweep(Config, list(overrides), config_name="config")


def test_hydras_sweep_syntax_is_understood() -> None:
    assert expand("seed=range(1,4)") == [["seed=1"], ["seed=2"], ["seed=3"]]
    assert expand("model=glob(resnet*)") == [["model=resnet18"], ["model=resnet34"], ["model=resnet50"]]
    assert expand("model.optimizer=choice(sgd,adam)") == [["model.optimizer=sgd"], ["model.optimizer=adam"]]
    assert expand("model.optimizer=sgd,adam") == [["model.optimizer='sgd'"], ["model.optimizer='adam'"]]
    assert expand("model.learning_rate=1e-3,0.1", "seed=5") == [
        ["model.learning_rate=0.001", "seed=5"],
        ["model.learning_rate=0.1", "seed=5"],
    ]
    assert expand("++trainer.lightning.benchmark=true,false") == [
        ["++trainer.lightning.benchmark=True"],
        ["++trainer.lightning.benchmark=False"],
    ]
    assert expand("data.mean=[0.1,0.2]", "data.std=[1,1]") == [["data.mean=[0.1,0.2]", "data.std=[1,1]"]]


def test_a_glob_that_finds_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives no run"):
        expand("seed=1", "model=glob(zzz*)")
