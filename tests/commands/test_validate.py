from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlstack.commands import validate as command
from mlstack.config.commands import ValidateConfig
from mlstack.config.trainer import ENGINES
from mlstack.errors import HardwareError, OutputError
from mlstack.utils import hardware
from mlstack.validation.models import SHIPPED
from mlstack.validation.report import StageReport, judge, not_checked, read_report
from mlstack.validation.training import ROOT

# Stands in for scripts/train.py: what each model does is written in its name.
SCRIPT = """
import json, pathlib, sys
settings = dict(argument.split("=", 1) for argument in sys.argv[1:])
model = settings["model"]
if model == "refused":
    sys.exit("model.name=refused: torchvision has no such architecture\\nnearest: resnet18")
if model == "broken":
    raise ValueError("shapes differ")
if model == "silent":
    sys.exit(3)
if model != "empty":
    assert settings["trainer.engine"] == "ENGINE"
    run = pathlib.Path(settings["output_dir"], f"{settings['data']}_{model}_lightning", "2026-01-01")
    run.mkdir(parents=True)
    results = {"status": "finished", "metrics": {"val": {"accuracy": 0.5}, "test": {"accuracy": 0.75}},
               "images_per_second": 1234.5, "train_seconds": 1.5, "peak_memory_mb": 812.3, "parameters": 11172810}
    (run / "results.json").write_text(json.dumps(results))
"""


def run(folder: Path, models: list[str], *, engine: str = ENGINES[-1]) -> None:
    script = folder / "train.py"
    script.write_text(SCRIPT.replace("ENGINE", engine))
    config = ValidateConfig(models=models, engine=engine, output_dir=str(folder / "outputs"))
    command.validate(config, script=script)


def test_every_shipped_model_has_its_yaml() -> None:
    for model in SHIPPED:
        assert (ROOT / "configs" / "model" / f"{model}.yaml").is_file()


def test_the_table_shows_what_each_run_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, [])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.split()[-1] == "ok"]
    assert [row[0] for row in rows] == list(SHIPPED)
    assert rows[0][1:3] == ["11,172,810", "0.7500"]
    assert rows[0][4:] == ["1,234", "812", "MB", "ok"]


def test_one_failure_hides_no_other_model_and_ends_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path, ["refused", "broken", "silent", "empty", "resnet18"])
    summary = json.loads((tmp_path / "outputs" / "validate" / "summary.json").read_text())
    assert {row["model"]: row["reason"] for row in summary} == {
        "refused": "model.name=refused: torchvision has no such architecture",
        "broken": "ValueError: shapes differ",
        "silent": "exit status 3, no message",
        "empty": "ended well, but wrote no results.json",
        "resnet18": "",
    }
    captured = capsys.readouterr()
    assert "failed: refused, broken, silent, empty;" in captured.err
    assert "failed: ValueError: shapes differ" in captured.out
    assert "ValueError: shapes differ" in (tmp_path / "outputs" / "validate" / "broken.log").read_text()


def test_a_folder_that_cannot_be_written_is_refused_before_any_training(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where a folder is wanted")
    with pytest.raises(OutputError, match="cannot write to"):
        run(tmp_path, [])


def test_a_stage_that_can_not_begin_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_driver", lambda: None)
    with pytest.raises(HardwareError, match="needs an NVIDIA GPU"):
        command.validate(ValidateConfig(stage="venv", output_dir=str(tmp_path / "outputs")))
    assert not list(tmp_path.iterdir())


def stage_report(value: float) -> StageReport:
    slow = judge("one epoch", value, "at_most", 120.0, unit="s", mend="a smaller data set")
    no_gpu = not_checked("GPU memory", "at_most", 0.8, reason="no GPU here")
    return StageReport("venv", "quick", "", False, "2026-11-22", True, {}, {}, (slow, no_gpu), {}, None)


def test_a_report_is_written_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.conclude(stage_report(60.0), tmp_path)
    assert read_report(tmp_path / "venv.json") == stage_report(60.0)
    said = capsys.readouterr().out
    assert "a dry run on the CPU" in said
    assert [line.split()[:3] for line in said.splitlines() if line.startswith("one")] == [["one", "epoch", "60"]]
    assert "GPU memory (not checked): no GPU here" in said
    assert f"written: {tmp_path / 'venv.json'}, {tmp_path / 'venv.md'}" in said


def test_a_failed_criterion_ends_with_status_1_after_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        command.conclude(stage_report(200.0), tmp_path)
    assert (tmp_path / "venv.md").is_file()
    captured = capsys.readouterr()
    assert "one epoch (FAIL): a smaller data set" in captured.out
    assert captured.err == "failed: one epoch\n"
