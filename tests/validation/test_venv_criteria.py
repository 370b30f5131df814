from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mlstack.config.commands import ValidateConfig
from mlstack.config.validation import VenvStageConfig
from mlstack.runs import RunFolder
from mlstack.validation import venv_criteria
from mlstack.validation.machine import Check
from mlstack.validation.models import Outcome
from mlstack.validation.report import Criterion
from mlstack.validation.sampling import Sample
from mlstack.validation.training import Trained
from mlstack.validation.venv_criteria import Found


def trained(folder: Path, speed: float, *, busy: float = 0.95, memory: float = 0.5, cores: float = 1.0) -> Trained:
    """A training of 10 seconds that kept the GPU busy."""
    samples = tuple(Sample(float(at), cores * at, 100.0, busy, memory) for at in range(12))
    results = {
        "images_per_second": speed,
        "train_seconds": 11.0,
        "peak_memory_mb": 200.0,
        "data": {"images": {"train": 1000}},
        "metrics": {"test": {"accuracy": 0.5}},
    }
    return Trained(RunFolder(folder), results, 20.0, samples, ((1.0, 11.0),))


def verdict(
    found: Found, *, dry_run: bool = False, checks: tuple[Check, ...] = (), **limits: Any
) -> dict[str, Criterion]:
    config = ValidateConfig(stage="venv", venv=VenvStageConfig(**limits))
    measured = venv_criteria.measurements(found, dry_run=dry_run)
    measured["stage_seconds"] = 60.0
    return {one.name: one for one in venv_criteria.criteria(config, measured, checks, found, dry_run=dry_run)}


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """A stage in which all is well but for the export."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_text("weights")
    run, made_up = trained(tmp_path, 950.0), trained(tmp_path, 1000.0)
    return Found(run, (run, run), (made_up, made_up), None, "answers differ", (), None, None)


def test_figures_of_a_gpu_are_judged(found: Found) -> None:
    result = verdict(found)
    failed = {name: one.note for name, one in result.items() if one.status != "ok"}
    assert failed == {"bundle": "answers differ"}
    assert result["GPU utilization"].value == pytest.approx(0.95)
    assert result["data efficiency"].value == pytest.approx(0.95)
    assert result["checkpoint"].value == "written"


def test_the_first_of_several_epochs_does_not_count(found: Found) -> None:
    """Its 20 seconds hold the choice of kernels; the second epoch, of as many pictures, takes 10."""
    run = dataclasses.replace(found.check, spans=((-20.0, 0.0), (1.0, 11.0)))
    assert run.steady == ((1.0, 11.0),)
    assert venv_criteria.speed(run, by_cpu=False) == pytest.approx(950.0 * 15 / 10)
    idle = tuple(dataclasses.replace(one, at=one.at - 20, gpu_busy=0.0) for one in found.check.samples)
    watched = dataclasses.replace(run, samples=(*idle, *found.check.samples))
    assert verdict(dataclasses.replace(found, real=(watched,)))["GPU utilization"].value == pytest.approx(0.95)


def test_each_limit_can_be_set(found: Found) -> None:
    limits = {"min_gpu_utilization": 0.99, "max_gpu_memory": 0.4, "max_seconds": 5.0, "min_data_efficiency": 0.99}
    failed = {name for name, one in verdict(found, **limits).items() if one.status == "fail" and one.note}
    assert failed == {"GPU utilization", "GPU memory", "one epoch", "data efficiency", "bundle"}


def test_a_gpu_that_tells_nothing_fails(found: Found, tmp_path: Path) -> None:
    silent = dataclasses.replace(found.check, samples=())
    result = verdict(dataclasses.replace(found, check=silent, real=(silent,)))
    assert result["GPU utilization"].status == result["GPU memory"].status == "fail"
    assert result["GPU utilization"].note.startswith("not measured; ")


def test_a_dry_run_says_nothing_about_the_gpu_and_counts_by_processor_time(found: Found, tmp_path: Path) -> None:
    slow = trained(tmp_path, 500.0, cores=0.5)  # half the speed with half the processor
    result = verdict(dataclasses.replace(found, real=(slow,)), dry_run=True)
    assert result["GPU utilization"].status == result["GPU memory"].status == "not_checked"
    assert "allow_cpu=true" in result["GPU memory"].note
    assert result["data efficiency"].value == pytest.approx(1.0)


def test_a_missing_checkpoint_an_environment_and_a_model_that_failed_are_told(found: Found) -> None:
    (found.check.run.checkpoints / "last.ckpt").unlink()
    checks = (Check("torch", "fail", "cannot be imported", "make setup"), Check("disk", "warn", "little", "clean"))
    outcomes = (Outcome("resnet18"), Outcome("resnet50", reason="out of memory"))
    result = verdict(dataclasses.replace(found, outcomes=outcomes), checks=checks)
    assert result["checkpoint"].value == "missing"
    assert result["environment"].note == "torch: cannot be imported → make setup"
    assert (result["models that train"].value, result["models that train"].note) == (
        "1 of 2",
        "resnet50: out of memory",
    )


def test_the_best_run_of_each_kind_says_how_fast_data_come(tmp_path: Path) -> None:
    slow, quick, made_up = (trained(tmp_path, speed, cores=2.0) for speed in (400.0, 600.0, 800.0))
    by_clock = venv_criteria.data_speed([slow, quick], [made_up], by_cpu=False)
    assert by_clock == {
        "data_efficiency": 0.75, "images_per_second_real": 600.0, "images_per_second_synthetic": 800.0,
    }  # fmt: skip
    by_cpu = venv_criteria.data_speed([slow], [made_up], by_cpu=True)
    assert by_cpu == {
        "data_efficiency": pytest.approx(0.5),
        "images_per_cpu_second_real": pytest.approx(200.0),
        "images_per_cpu_second_synthetic": pytest.approx(400.0),
    }
    assert venv_criteria.data_speed([], [made_up], by_cpu=False) == {
        "data_efficiency": None, "images_per_second_real": None, "images_per_second_synthetic": 800.0,
    }  # fmt: skip
