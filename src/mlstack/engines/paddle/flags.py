"""`trainer.paddle.*` and `trainer.deterministic`: Paddle's own flags, set for a run and set back after it.

https://www.paddlepaddle.org.cn/documentation/docs/en/guides/flags/flags_en.html
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import paddle

from mlstack.config import TrainerConfig
from mlstack.errors import ConfigError

DETERMINISTIC = {"FLAGS_cudnn_deterministic": True, "FLAGS_embedding_deterministic": 1}


def check_flags(flags: Mapping[str, Any]) -> None:
    """Refuse flags that Paddle does not know.

    Raises:
        ConfigError: Naming the nearest one.
    """
    known = paddle.base.core.globals().keys()
    for name in flags:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"trainer.paddle.{name}: Paddle has no such flag",
                key=f"trainer.paddle.{name}",
                hint=f"did you mean trainer.paddle.{nearest[0]}?" if nearest else "",
            )


@contextmanager
def with_flags(settings: TrainerConfig) -> Iterator[None]:
    """Set the flags that the settings ask for; afterwards they are as before."""
    flags = {**(DETERMINISTIC if settings.deterministic else {}), **settings.paddle}
    known = paddle.base.core.globals().keys()
    flags = {name: value for name, value in flags.items() if name in known}  # a CPU build has fewer
    before = paddle.get_flags(list(flags)) if flags else {}
    if flags:
        paddle.set_flags(flags)
    try:
        yield
    finally:
        if before:
            paddle.set_flags(before)
