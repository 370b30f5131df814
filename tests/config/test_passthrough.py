from __future__ import annotations

import inspect
from typing import Any

import pytest

from mlstack.config import ModelConfig
from mlstack.config.argument_rules import EITHER_OR, LOSS_RULES, OPTIMIZER_RULES, SCHEDULER_RULES
from mlstack.config.model import LOSSES, OPTIMIZERS, SCHEDULERS
from mlstack.config.passthrough import check_loss_args, check_optimizer_args, check_scheduler_args
from mlstack.engines.schedules import FACTORS, Plateau
from mlstack.errors import ConfigError

CHECKS = {"optimizer": check_optimizer_args, "loss": check_loss_args, "scheduler": check_scheduler_args}


def settings(kind: str, choice: str, args: dict[str, Any]) -> ModelConfig:
    return ModelConfig(**{kind: choice, f"{kind}_args": args})


@pytest.mark.parametrize(
    ("kind", "choice", "args"),
    [
        ("optimizer", "sgd", {"momentum": 0.9, "nesterov": True}),
        ("optimizer", "adamw", {"betas": [0.9, 0.95], "eps": 1e-6, "amsgrad": False}),
        ("optimizer", "muon", {"momentum": 0.6, "ns_steps": 3, "betas": [0.85, 0.95], "rest_learning_rate": None}),
        ("optimizer", "muon", {"nesterov": True, "rest_learning_rate": 0.01}),
        ("loss", "cross_entropy", {"label_smoothing": 1, "class_weights": [1, 0.1, 2.5]}),
        ("loss", "cross_entropy", {"class_weights": "balanced"}),
        ("loss", "focal", {"gamma": 0, "alpha": 0.25}),
        ("loss", "focal", {"gamma": 5.0, "alpha": [1.0, 2.0]}),
        ("loss", "bce", {"pos_weight": "balanced"}),
        ("loss", "huber", {"delta": 1.35}),
        ("loss", "auto", {"label_smoothing": 0.1}),
        ("scheduler", "step", {"every": 30, "gamma": 0.1}),
        ("scheduler", "step", {"milestones": [30, 60.5, 80]}),
        ("scheduler", "cosine", {"final_factor": 0.01}),
        ("scheduler", "cosine_restarts", {"cycles": 1, "mult": 1}),
        ("scheduler", "cosine_restarts", {"first_cycle": 10, "mult": 2}),
        ("scheduler", "one_cycle", {"div_factor": 25, "final_div_factor": 1e4, "anneal": "cosine"}),
        ("scheduler", "reduce_on_plateau", {"factor": 0.5, "patience": 0, "min_factor": 0.001}),
    ],
)
def test_what_is_right_passes(kind: str, choice: str, args: dict[str, Any]) -> None:
    CHECKS[kind](settings(kind, choice, args))


@pytest.mark.parametrize(
    ("kind", "choice", "args", "words"),
    [
        # names
        ("optimizer", "muon", {"dampening": 0.1}, ["optimizer_args.dampening", "muon", "model.optimizer=sgd has it"]),
        ("optimizer", "muon", {"ns_stepz": 5}, ["did you mean ns_steps"]),
        ("optimizer", "adam", {"rest_learning_rate": 1}, ["model.optimizer=muon has it"]),
        ("loss", "cross_entropy", {"gamma": 2}, ["loss_args.gamma", "cross_entropy", "model.loss=focal has it"]),
        ("loss", "auto", {"gamma": 2}, ["model.loss=auto", "model.loss=focal has it"]),
        ("loss", "focal", {"gama": 2}, ["did you mean gamma"]),
        ("loss", "mse", {"nothing_like_it": 2}, ["~model.loss_args.nothing_like_it drops it"]),
        ("scheduler", "cosine", {"patience": 2}, ["scheduler_args.patience", "model.scheduler=reduce_on_plateau has"]),
        ("scheduler", "warmup_cosine", {"final_facto": 0}, ["did you mean final_factor"]),
        # values
        ("optimizer", "muon", {"ns_steps": 0}, ["ns_steps=0", "whole number ≥ 1"]),
        ("optimizer", "muon", {"ns_steps": 2.5}, ["ns_steps=2.5"]),
        ("optimizer", "muon", {"rest_learning_rate": 0}, ["rest_learning_rate=0", "null = model.learning_rate"]),
        ("optimizer", "muon", {"momentum": 0, "nesterov": True}, ["nesterov", "momentum"]),
        ("optimizer", "sgd", {"momentum": True}, ["momentum=True"]),
        ("loss", "cross_entropy", {"label_smoothing": 1.1}, ["label_smoothing=1.1", "0 to 1"]),
        ("loss", "cross_entropy", {"label_smoothing": "0.1"}, ["label_smoothing=0.1"]),
        ("loss", "cross_entropy", {"class_weights": "even"}, ["class_weights=even", "balanced"]),
        ("loss", "cross_entropy", {"class_weights": 2}, ["class_weights=2"]),
        ("loss", "cross_entropy", {"class_weights": [1, 0]}, ["class_weights=[1, 0]", "> 0"]),
        ("loss", "cross_entropy", {"class_weights": []}, ["class_weights=[]"]),
        ("loss", "focal", {"gamma": -1}, ["gamma=-1", "≥ 0"]),
        ("loss", "focal", {"alpha": 0}, ["alpha=0"]),
        ("loss", "bce", {"pos_weight": [1, -1]}, ["pos_weight=[1, -1]"]),
        ("loss", "huber", {"delta": float("inf")}, ["delta=inf", "standard deviations"]),
        ("scheduler", "step", {"every": 0}, ["every=0", "epochs > 0"]),
        ("scheduler", "step", {"milestones": [60, 30]}, ["milestones=[60, 30]", "rising"]),
        ("scheduler", "step", {"milestones": [30, 30]}, ["milestones"]),
        ("scheduler", "step", {"milestones": []}, ["milestones"]),
        ("scheduler", "step", {"gamma": 1}, ["gamma=1", "below 1"]),
        ("scheduler", "cosine", {"final_factor": 2}, ["final_factor=2"]),
        ("scheduler", "cosine_restarts", {"cycles": 1.5}, ["cycles=1.5"]),
        ("scheduler", "cosine_restarts", {"mult": 0.5}, ["mult=0.5", "≥ 1"]),
        ("scheduler", "one_cycle", {"anneal": "cos"}, ["anneal=cos", "linear or cosine"]),
        ("scheduler", "one_cycle", {"anneal": []}, ["anneal=[]"]),
        ("scheduler", "reduce_on_plateau", {"patience": -1}, ["patience=-1", "validations"]),
        # two that say the same
        ("scheduler", "step", {"every": 2, "milestones": [1]}, ["every", "milestones", "contradict"]),
        ("scheduler", "cosine_restarts", {"cycles": 2, "first_cycle": 1}, ["cycles", "first_cycle", "contradict"]),
    ],
)
def test_what_is_wrong_is_one_message_with_the_key_and_a_way_out(
    kind: str, choice: str, args: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        CHECKS[kind](settings(kind, choice, args))
    message = str(caught.value)
    assert caught.value.key.startswith(f"model.{kind}_args.")
    assert [word for word in words if word not in message] == []
    assert len(message.splitlines()) <= 3


def test_a_task_makes_auto_exact() -> None:
    model = settings("loss", "auto", {"label_smoothing": 0.1})
    check_loss_args(model, "classification")
    with pytest.raises(ConfigError, match=r"label_smoothing is not an argument of model\.loss=auto"):
        check_loss_args(model, "regression")


def test_there_are_rules_for_every_choice() -> None:
    assert tuple(OPTIMIZER_RULES) == OPTIMIZERS
    assert tuple(SCHEDULER_RULES) == SCHEDULERS
    assert tuple(LOSS_RULES) == tuple(loss for losses in LOSSES.values() for loss in losses)
    for scheduler, names in EITHER_OR.items():
        assert set(names) <= set(SCHEDULER_RULES[scheduler])


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "constant"])
def test_the_rules_of_a_schedule_are_the_arguments_that_it_takes_and_allow_its_defaults(name: str) -> None:
    takes = inspect.signature(Plateau if name == "reduce_on_plateau" else FACTORS[name]).parameters.values()
    defaults = {each.name: each.default for each in takes if each.default is not each.empty and each.name != "mode"}
    assert set(defaults) == set(SCHEDULER_RULES[name])
    for argument, default in defaults.items():
        if default is not None:
            check_scheduler_args(settings("scheduler", name, {argument: default}))
