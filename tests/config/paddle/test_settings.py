"""How Paddle is chosen, and what is refused with it before it is imported."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlstack.config.trainer import ENGINES

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "also"),
    [
        (["trainer=paddle"], "steps_per_execution: 1\n"),
        (["trainer.engine=paddle"], "steps_per_execution: 1\n"),
        (["trainer=fast", "trainer.engine=paddle"], "steps_per_execution: 8\n"),
        (["trainer=paddle", "trainer.paddle.FLAGS_cudnn_exhaustive_search=true"], "cudnn_exhaustive_search: true\n"),
        (["trainer=paddle", "model.optimizer=sgd", "model.optimizer_args.dampening=0"], "dampening: 0\n"),
        (["trainer=paddle", "trainer.strategy=ddp_find_unused_parameters_true"], "_parameters_true\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_paddle_is_chosen_by_a_file_or_by_a_key(command: Command, words: list[str], also: str) -> None:
    status, out, err = command("--cfg", "job", *words)
    assert (status, err) == (0, "")
    assert "engine: paddle\n" in out
    assert also in out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["trainer.accelerator=mps"], ["trainer.accelerator=mps", "trainer.accelerator=cpu"]),
        (["trainer.strategy=fsdp"], ["trainer.strategy=fsdp", "trainer.strategy=ddp"]),
        (["trainer.strategy=deepspeed_stage_2"], ["trainer.strategy=deepspeed_stage_2", "trainer.strategy=ddp"]),
        (["model.name=timm/vit_tiny_patch16_224"], ["model.name=timm/vit_tiny", "model=resnet18"]),
        (
            ["model.optimizer=sgd", "model.optimizer_args={momentum:0.9,dampening:0.1}"],
            ["model.optimizer_args.dampening=0.1", "model.optimizer_args.dampening=0"],
        ),
        (["trainer.lightning.profiler=simple"], ["trainer.lightning.profiler", "drop trainer.lightning.profiler"]),
        (["trainer.paddle.benchmark=true"], ["trainer.paddle.benchmark", "FLAGS_"]),
        (["trainer.paddle.precision=16"], ["trainer.paddle.precision", "set trainer.precision instead"]),
        (["trainer.paddle.FLAGS_x=[1]"], ["trainer.paddle.FLAGS_x=[1]", "a number"]),
        (["trainer.paddle.FLAGS_x=null"], ["trainer.paddle.FLAGS_x=None", "true or false"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_paddle_cannot_do_is_refused_with_what_to_type(
    command: Command, words: list[str], named: list[str]
) -> None:
    status, out, err = command("trainer=paddle", *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 3
    assert not [part for part in named if part not in err], err
    if "lightning" not in ENGINES:
        assert "trainer.engine=lightning" not in err.splitlines()[-1]
