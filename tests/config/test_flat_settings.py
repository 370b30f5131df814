from __future__ import annotations

from mlstack.config import Config, TrainerConfig
from mlstack.config.flat_settings import flat_settings, flatten


def test_every_key_has_its_dotted_name() -> None:
    flat = flat_settings(Config(trainer=TrainerConfig(lightning={"benchmark": True, "plugins": {}})))
    assert flat["model.learning_rate"] == 0.001
    assert flat["trainer.lightning.benchmark"] is True
    assert flat["trainer.lightning.plugins"] == {}
    assert flat["tracker_args"] == {}
    assert flat["seed"] == 0
    assert not any(isinstance(value, dict) and value for value in flat.values())


def test_mappings_in_mappings_are_flattened_too() -> None:
    assert flatten({"git": {"commit": "1f"}, "command": "train"}) == {"git.commit": "1f", "command": "train"}
