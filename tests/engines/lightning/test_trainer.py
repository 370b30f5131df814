from __future__ import annotations

from typing import Any

import pytest

from mlstack.config import Config, TrainerConfig
from mlstack.engines.lightning.trainer import build_trainer, check_trainer_arguments
from mlstack.errors import ConfigError

pytestmark = pytest.mark.framework


def build(**settings: Any) -> Any:
    return build_trainer(Config(trainer=TrainerConfig(accelerator="cpu", **settings)), callbacks=[])


def test_an_argument_that_lightning_lacks_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.lightning\.detect_anomalies") as caught:
        check_trainer_arguments({"detect_anomalies": True})
    assert caught.value.hint == "did you mean trainer.lightning.detect_anomaly?"
    with pytest.raises(ConfigError, match="no such argument"):
        check_trainer_arguments({"xyzzy": 1})


def test_an_argument_of_lightnings_own_reaches_it() -> None:
    trainer = build(lightning={"num_sanity_val_steps": 2, "min_epochs": 3})
    assert trainer.num_sanity_val_steps == 2
    assert trainer.fit_loop.min_epochs == 3


def test_settings_that_lightning_refuses_are_one_message() -> None:
    with pytest.raises(ConfigError, match="Lightning refuses these trainer settings") as caught:
        build(lightning={"profiler": "no_such_profiler"})
    assert len(str(caught.value).splitlines()) <= 8


def test_a_run_obeys_lightnings_own_arguments(fit: Any) -> None:
    fitted = fit(trainer__max_epochs=3, trainer__lightning={"max_time": "00:00:00:00"})
    assert fitted.result.epochs < 3
