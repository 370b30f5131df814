from __future__ import annotations

from typing import Any

import pytest

from mlstack.config import DataConfig, ModelConfig
from mlstack.engines.loss_weights import loss_weights
from mlstack.errors import ConfigError

DATA = DataConfig(classes=["a", "b", "c"])


def weights(loss: str = "cross_entropy", **args: Any) -> dict[str, list[float]]:
    return loss_weights(ModelConfig(loss=loss, loss_args=args), DATA, class_counts=[6, 4, 0], images=10)


def test_numbers_are_taken_as_they_are_and_other_arguments_left_alone() -> None:
    assert weights(class_weights=[3, 5, 1], label_smoothing=0.1) == {"class_weights": [3.0, 5.0, 1.0]}
    assert weights("focal", alpha=0.25, gamma=2) == {}


def test_balanced_weights_give_each_class_its_equal_share() -> None:
    # 10 / (3 · 6), 10 / (3 · 4), and a class without an image like one with a single image: 10 / (3 · 1)
    assert weights(class_weights="balanced") == {"class_weights": pytest.approx([10 / 18, 10 / 12, 10 / 3])}
    # absent / present: 4 / 6, 6 / 4, 10 / 1
    assert weights("bce", pos_weight="balanced") == {"pos_weight": pytest.approx([4 / 6, 6 / 4, 10.0])}


def test_weights_that_are_too_few_are_one_message() -> None:
    with pytest.raises(ConfigError, match=r"loss_args\.alpha has 2 values for 3 classes") as caught:
        weights("focal", alpha=[1.0, 2.0])
    assert caught.value.key == "model.loss_args.alpha"


@pytest.mark.parametrize("name", ["class_weights", "pos_weight"])
def test_balanced_without_counts_is_a_bug(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=balanced needs the counts"):
        loss_weights(ModelConfig(loss_args={name: "balanced"}), DATA, class_counts=None)
