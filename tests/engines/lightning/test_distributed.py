from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .conftest import Fit

pytestmark = pytest.mark.framework

ROOT = Path(__file__).parents[3]
SETTINGS = {
    "data.augment.flip": 0.5,
    "data.augment.crop": 2,
    "model.learning_rate": 0.01,
    "model.optimizer": "sgd",
    "model.weight_decay": 0.0,
    "trainer.max_epochs": 2,
    "trainer.accumulate_grad_batches": 2,
    "trainer.steps_per_execution": 2,
}


def test_two_processes_share_one_run_and_learn_what_one_learns_from_batches_twice_as_large(
    fit: Fit, tmp_path: Path
) -> None:
    words = [
        "model.target=tiny_networks:tiny",
        "data.name=few_digits",
        "data.target=few_digits:load",
        "data.batch_size=8",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.strategy=ddp",
        f"output_dir={tmp_path / 'outputs'}",
        *(f"{key}={value}" for key, value in SETTINGS.items()),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "own_code"), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert [line.split()[0] for line in answer.stdout.splitlines() if line.startswith("epoch")] == ["epoch"] * 2
    for start in ("data  ", "model  ", "test  ", "training  ", "next  "):
        assert sum(line.startswith(start) for line in answer.stdout.splitlines()) == 1, start

    [run] = (tmp_path / "outputs").glob("*_lightning/*")
    facts = json.loads((run / "results.json").read_text())
    assert (facts["status"], facts["epochs"], facts["steps"]) == ("finished", 2, 6)
    with (run / "metrics.csv").open(newline="") as file:
        validations = [row for row in csv.DictReader(file) if row["val_loss"]]
    assert [row["step"] for row in validations] == ["3", "6"]

    settings = {key.replace(".", "__"): value for key, value in SETTINGS.items()}
    alone = fit(data__batch_size=16, **settings)
    together = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in alone.weights().items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=1e-6, msg=name)
    assert [float(row["val_loss"]) for row in validations] == pytest.approx(alone.column("val_loss"), abs=1e-4)
