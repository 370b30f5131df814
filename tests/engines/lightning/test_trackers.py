from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlstack.config import Config
from mlstack.engines.lightning import trackers
from mlstack.engines.lightning.trackers import build_trackers
from mlstack.errors import ConfigError, MissingPackageError
from mlstack.runs import RunFolder

from .conftest import Fit

pytestmark = pytest.mark.framework


def other_files(run: RunFolder) -> set[str]:
    return {path.name for path in run.path.iterdir()} - {"metrics.csv", "checkpoints"}


def test_without_a_tracker_there_is_metrics_csv_alone(fit: Fit) -> None:
    assert other_files(fit(tracker="none", trainer__max_epochs=1).run) == set()


def test_tensorboard_gets_the_values_of_metrics_csv(fit: Fit) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fitted = fit(tracker="tensorboard")
    assert other_files(fitted.run) == {"tensorboard"}
    events = EventAccumulator(str(fitted.run.path / "tensorboard")).Reload()
    values = [event.value for event in events.Scalars("val_loss")]
    assert values == pytest.approx(fitted.column("val_loss"), rel=1e-5)


def test_wandb_records_offline_where_there_is_no_account(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    fitted = fit(tracker="wandb", trainer__max_epochs=1)
    [record] = (fitted.run.path / "wandb").glob("offline-run-*/run-*.wandb")
    assert record.stat().st_size > 0
    assert other_files(fitted.run) == {"wandb"}


def test_an_account_is_found_in_the_environment_or_in_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not trackers._has_wandb_account()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert trackers._has_wandb_account()
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert trackers._has_wandb_account()


def test_without_the_package_wandb_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match="tracker=wandb needs the package wandb"):
        build_trackers(Config(tracker="wandb"), RunFolder(tmp_path))


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_arguments_that_a_tracker_refuses_are_one_message(tracker: str, tmp_path: Path) -> None:
    config = Config(tracker=tracker, tracker_args={"no_such_argument": 1, "offline": True})
    if tracker == "tensorboard":
        del config.tracker_args["offline"]
    with pytest.raises(ConfigError, match=f"tracker={tracker} refuses tracker_args="):
        build_trackers(config, RunFolder(tmp_path))


def test_metrics_csv_ignores_settings_and_unknown_columns(tmp_path: Path) -> None:
    [tracker] = build_trackers(Config(tracker="none"), RunFolder(tmp_path))
    tracker.log_hyperparams({"seed": 1})
    tracker.log_metrics({"epoch": 0, "val_loss": 0.12345678, "unknown": 1.0}, step=3)
    header, row = (tmp_path / "metrics.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["val_loss"] == "0.123457"
    assert row.startswith("0,3,")
    assert (tracker.name, tracker.version) == ("metrics", "")
