from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from mlstack.config import Config, DataConfig, ModelConfig, TrainerConfig
from mlstack.config.commands import (
    CheckEnvConfig,
    ConvertConfig,
    DownloadConfig,
    EvalConfig,
    PredictConfig,
    ValidateConfig,
)
from mlstack.config.comparison import ComparePerformanceConfig
from mlstack.config.compose import compose, to_yaml
from mlstack.config.trainer import ENGINES
from mlstack.config.vocabulary import CONFIG_DIR
from mlstack.errors import ConfigError

GROUPS = {"model": ModelConfig, "data": DataConfig, "trainer": TrainerConfig}
NEEDED = {
    "torchvision": ["model.name=convnext_tiny"],
    "timm": ["model.name=timm/vit_tiny_patch16_224"],
    "image_table": ["data.table=prices.csv"],
    "journal": ["data.path=journal"],
}
MOST_LINES = {"model": 9, "data": 14, "trainer": 14, "trainer/fast": 9}
# configs/device/ is no group: optimize_for_edge.py reads its files by itself (tests/export/test_device.py).
SHIPPED = sorted(
    path.relative_to(CONFIG_DIR).with_suffix("").as_posix()
    for path in CONFIG_DIR.glob("*/*.yaml")
    if path.parent.name != "device"
)


@pytest.mark.parametrize("file", SHIPPED)
def test_every_shipped_file_composes(file: str) -> None:
    group, name = file.split("/")
    extra = ["data.path=photos"] if name == "image_folder" else NEEDED.get(name, [])
    config = compose(Config, [f"{group}={name}", *extra])
    assert config.model.name
    assert config.data.name


@pytest.mark.parametrize("file", SHIPPED)
def test_every_shipped_file_is_short_and_says_only_what_differs_from_the_defaults(file: str) -> None:
    group, name = file.split("/")
    path = CONFIG_DIR / f"{file}.yaml"
    limit = MOST_LINES.get(file, MOST_LINES.get(group))
    assert limit is None or len(path.read_text(encoding="utf-8").splitlines()) <= limit
    if group in GROUPS:
        settings = OmegaConf.to_container(OmegaConf.load(path))
        defaults = asdict(GROUPS[group]())
        assert isinstance(settings, dict)
        stated = {"name", "engine"}  # what a file is for may be said where it is the default
        repeated = [key for key, value in settings.items() if key not in stated and defaults[str(key)] == value]
        assert not repeated, name


def test_the_main_file_is_short_and_starts_as_documented() -> None:
    assert len((CONFIG_DIR / "config.yaml").read_text(encoding="utf-8").splitlines()) < 20
    config = compose(Config)
    assert (config.model.name, config.data.name, config.trainer) == ("resnet18", "cifar10", TrainerConfig())


@pytest.mark.parametrize(
    ("schema", "name", "overrides"),
    [
        (EvalConfig, "eval", ["run=outputs/a b", "split=val"]),
        (PredictConfig, "predict", ["input=photos/"]),
        (ConvertConfig, "convert", ["run=outputs/a b", "target=networks:build"]),
        (DownloadConfig, "download", ["data=digits", "clean=true"]),
        (CheckEnvConfig, "check_env", ["json=true"]),
        (ComparePerformanceConfig, "compare_performance", ["venv=a.json", "tolerance=0.01"]),
        (
            ValidateConfig,
            "validate",
            ["models=[resnet18,timm]", "data=fashion_mnist"],
        ),  # no group here
    ],
)
def test_every_other_command_composes_from_its_schema(schema: type, name: str, overrides: list[str]) -> None:
    assert isinstance(compose(schema, overrides, config_name=name), schema)


def test_a_prediction_takes_one_path_or_a_list() -> None:
    assert compose(PredictConfig, ["input=a,b(1).jpg"], config_name="predict").input == ["a,b(1).jpg"]
    assert compose(PredictConfig, ["input=[a.jpg,b c.jpg]"], config_name="predict").input == ["a.jpg", "b c.jpg"]


def test_open_keys_need_no_plus() -> None:
    argument = {"lightning": "detect_anomaly", "paddle": "FLAGS_cudnn_deterministic"}[ENGINES[0]]
    config = compose(
        Config,
        [
            f"trainer.{ENGINES[0]}.{argument}=true",
            "model.optimizer=sgd",
            "model.optimizer_args.nesterov=true",
            "model.optimizer_args.momentum=0.9",
            "model.args.width=2",
            "model.args={depth:3}",
            "data.args.foo=bar",
        ],
    )
    assert getattr(config.trainer, ENGINES[0]) == {argument: True}
    assert config.model.optimizer_args == {"nesterov": True, "momentum": 0.9}
    assert config.model.args == {"width": 2, "depth": 3}
    assert config.data.args == {"foo": "bar"}


def test_a_plus_before_a_known_key_changes_nothing() -> None:
    config = compose(Config, ["+trainer.max_epochs=3", "++seed=5", "+model=resnet34"])
    assert (config.trainer.max_epochs, config.seed, config.model.name) == (3, 5, "resnet34")


def test_the_last_of_two_values_wins() -> None:
    assert compose(Config, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("typed", "meant"), [("16", "16"), ("16-mixed", "16"), ("bf16-mixed", "bf16"), ("fp32", "32"), ("'64'", "64")]
)
def test_other_spellings_of_a_precision_become_ours(typed: str, meant: str) -> None:
    assert compose(Config, [f"trainer.precision={typed}"]).trainer.precision == meant


def test_numbers_keep_their_kind() -> None:
    config = compose(Config, ["trainer.limit_val_batches=1", "trainer.limit_test_batches=1.0", "model.learning_rate=1"])
    assert type(config.trainer.limit_val_batches) is int
    assert type(config.trainer.limit_test_batches) is float
    assert type(config.model.learning_rate) is float


def test_home_is_resolved_in_paths_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = compose(Config, ["data.path=~/photos", "output_dir=~backup", "model.name=~/x"])
    assert (config.data.path, config.output_dir, config.model.name) == ("/home/me/photos", "~backup", "~/x")


def test_a_recipe_chooses_groups_and_the_command_line_wins() -> None:
    recipe = compose(Config, ["recipe=cifar10_resnet18"])
    assert (recipe.model.optimizer, recipe.data.batch_size, recipe.trainer.max_epochs) == ("sgd", 128, 30)
    other = compose(Config, ["recipe=cifar10_resnet18", "model=resnet34", "trainer.max_epochs=2"])
    assert (other.model.name, other.model.optimizer, other.trainer.max_epochs) == ("resnet34", "sgd", 2)


def test_what_a_recipe_put_below_an_open_key_can_be_taken_back() -> None:
    args = "model.optimizer_args"
    overrides = ["recipe=cifar10_resnet18", "model.optimizer=adamw"]
    with pytest.raises(ConfigError, match=f"~{args}.momentum drops it"):
        compose(Config, overrides)
    assert compose(Config, [*overrides, f"~{args}.momentum", f"~{args}.nesterov"]).model.optimizer_args == {}


def test_a_users_folder_adds_choices_and_comes_before_the_shipped_ones(own_folder: Path) -> None:
    (own_folder / "model" / "my_net.yaml").write_text("name: my_net\ntarget: my_net:build\nargs: {width: 2}\n")
    (own_folder / "model" / "resnet34.yaml").write_text("name: resnet34\nlearning_rate: 0.5\n")
    (own_folder / "model" / "网络.yaml").write_text("name: other\n", encoding="utf-8")
    (own_folder / "recipe" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: my_net\n  - override /data: digits\nseed: 7\n"
    )
    mine = compose(Config, ["recipe=mine"], config_dirs=[own_folder])
    assert (mine.model.target, mine.model.args, mine.data.name, mine.seed) == (
        "my_net:build",
        {"width": 2},
        "digits",
        7,
    )
    assert compose(Config, ["model=resnet34"], config_dirs=[own_folder]).model.learning_rate == 0.5
    assert compose(Config, ["model=网络"], config_dirs=[own_folder]).model.name == "other"


def test_a_run_can_be_composed_over_its_stored_config(tmp_path: Path) -> None:
    stored = compose(Config, ["model=resnet34", "data=digits", "data.path=照片", "trainer.max_epochs=3"])
    base = tmp_path / "config.yaml"
    base.write_text(to_yaml(stored), encoding="utf-8")
    again = compose(Config, ["trainer.max_epochs=5"], base=base)
    assert again.trainer.max_epochs == 5
    assert compose(Config, base=base) == stored
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs"):
        compose(Config, ["trainer.max_epoch=5"], base=base)
    with pytest.raises(ConfigError, match="group of keys"):
        compose(Config, ["model=resnet18"], base=base)


@pytest.mark.parametrize(
    ("text", "named"), [("model: {lr: 1}", r"model\.lr"), ("model: {name: [x", "config.yaml, line 1")]
)
def test_a_stored_config_that_does_not_fit_is_refused(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=named):
        compose(Config, base=tmp_path / "config.yaml")


def test_nothing_of_hydra_is_left_behind() -> None:
    compose(Config)
    assert not GlobalHydra.instance().is_initialized()
    assert not HydraConfig.initialized()
