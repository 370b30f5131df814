"""What only Lightning takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from mlstack.config.passthrough import LIGHTNING_ARGUMENTS, OURS_FOR_LIGHTNING
from mlstack.config.trainer import STRATEGIES, TrainerConfig

Command = Callable[..., tuple[int, str, str]]


def test_flags_of_paddle_are_refused_with_lightning(command: Command) -> None:
    status, _, err = command("trainer.engine=lightning", "trainer.paddle.FLAGS_cudnn_deterministic=true")
    assert status == 2
    assert "trainer.paddle.FLAGS_cudnn_deterministic" in err
    assert "trainer.engine=lightning" in err


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.accelerator=mps"],
        ["trainer.strategy=fsdp"],
        ["model=timm", "model.name=timm/vit_tiny_patch16_224"],
        ["model.optimizer=sgd", "model.optimizer_args={momentum:0.9,dampening:0.1}"],
    ],
    ids=lambda words: words[-1],
)
def test_what_paddle_cannot_do_is_allowed_with_lightning(command: Command, words: list[str]) -> None:
    assert command("--cfg", "job", "trainer.engine=lightning", *words)[0] == 0


@pytest.mark.framework
def test_our_tables_of_lightnings_words_are_true_and_hold_no_key_of_ours() -> None:
    import pytorch_lightning
    from pytorch_lightning.strategies import StrategyRegistry

    assert set(STRATEGIES) - {"auto"} <= set(StrategyRegistry.available_strategies())
    known = inspect.signature(pytorch_lightning.Trainer.__init__).parameters
    assert set(LIGHTNING_ARGUMENTS) | set(OURS_FOR_LIGHTNING) <= set(known)
    assert not set(LIGHTNING_ARGUMENTS) & (set(vars(TrainerConfig())) | set(OURS_FOR_LIGHTNING))
