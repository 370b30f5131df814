from __future__ import annotations

from typing import Any

import pytest

from mlstack.config.contradictions import check_contradictions
from mlstack.config.export import ExportConfig, QuantizeConfig
from mlstack.errors import ConfigError

OWN: dict[str, Any] = {"onnx": "model.onnx"}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"run": "outputs/a/b", "quantize": QuantizeConfig(mode="int8")},
        OWN,
        {**OWN, "mean": [0.5], "std": [0.5], "color": "bgr"},
        {**OWN, "mean": [0.0, 0.0, 0.0], "std": [1 / 255] * 3},
        {**OWN, "images": ["photos"], "quantize": QuantizeConfig(mode="int8")},
    ],
)
def test_settings_for_a_run_or_for_an_own_model_pass(keys: dict[str, Any]) -> None:
    check_contradictions(ExportConfig(**keys))


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ({"images": ["photos"]}, "images", r"images=\[photos\] is for an ONNX file of your own"),
        ({"answers": "probabilities"}, "answers", "answers=probabilities is for an ONNX file"),
        ({"mean": [0.5]}, "mean", r"mean=\[0.5\] is for an ONNX file"),
        ({**OWN, "run": "outputs/a/b"}, "run", "run=outputs/a/b and onnx=model.onnx contradict each other"),
        ({**OWN, "mean": [123.675, 116.28, 103.53]}, "mean", "a number from 0 to 1 for each channel"),
        ({**OWN, "std": [0.2, 0.0, 0.2]}, "std", "above 0"),
        ({**OWN, "mean": []}, "mean", "a number from 0 to 1"),
        ({**OWN, "mean": [float("nan")] * 3}, "mean", "a number from 0 to 1"),
        ({**OWN, "mean": [0.5]}, "std", "are for different numbers of channels"),
        ({**OWN, "quantize": QuantizeConfig(mode="fp16")}, "images", "quantize.mode=fp16 needs pictures"),
    ],
)
def test_what_belongs_to_the_other_source_or_cannot_be_is_refused(keys: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_contradictions(ExportConfig(**keys))
    assert caught.value.key == key


def test_a_mean_for_0_to_255_is_answered_with_the_one_to_type() -> None:
    with pytest.raises(ConfigError, match=r"mean=\[0\.485,0\.456,0\.406\]"):
        check_contradictions(ExportConfig(**OWN, mean=[123.675, 116.28, 103.53]))


@pytest.mark.parametrize(
    ("mean", "hint"),
    [([1.5], True), ([1.0, 255.0], True), ([255.5], False), ([0.5, 120.0], False), ([-1.0], False), ([], False)],
)
def test_a_hint_to_divide_by_255_is_given_only_where_all_values_are_from_1_to_255(
    mean: list[float], hint: bool
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_contradictions(ExportConfig(**OWN, mean=[*mean], std=[0.5]))
    assert caught.value.key == "mean"
    assert ("divide them by 255" in caught.value.hint) == hint
