"""Paddle's flags are a run's, and set back after it."""

from __future__ import annotations

import pytest

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401

import paddle

from mlstack.config import TrainerConfig
from mlstack.engines.paddle.flags import check_flags, with_flags
from mlstack.errors import ConfigError

pytestmark = pytest.mark.framework


def check_nan_inf() -> bool:
    return bool(paddle.get_flags("FLAGS_check_nan_inf")["FLAGS_check_nan_inf"])


def test_a_flag_is_set_while_the_run_goes_on_and_set_back_after_it() -> None:
    with with_flags(TrainerConfig(paddle={"FLAGS_check_nan_inf": True})):
        assert check_nan_inf()
    assert not check_nan_inf()


def test_deterministic_kernels_are_asked_for_where_the_build_has_them() -> None:
    known = paddle.base.core.globals().keys()
    with with_flags(TrainerConfig(deterministic=True)):
        for name in {"FLAGS_cudnn_deterministic"} & set(known):
            assert paddle.get_flags(name)[name]


def test_an_unknown_flag_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.paddle\.FLAGS_chek_nan_inf") as caught:
        check_flags({"FLAGS_chek_nan_inf": True})
    assert "FLAGS_check_nan_inf" in caught.value.hint
