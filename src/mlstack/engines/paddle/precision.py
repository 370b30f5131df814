"""`trainer.precision` for Paddle: what convolutions and linear layers are computed in.

On a GPU Paddle's own `auto_cast` does it. On a CPU Paddle 3.3.1 has no kernel for bfloat16 ("The kernel with key (CPU,
Undefined(AnyLayout), bfloat16) of kernel `conv2d` is not registered"), and `auto_cast` has no effect there. What a
processor's bfloat16 instructions do is done here with float32 ones: operands are rounded to bfloat16, products summed
in float32, the result and its gradients rounded again. A network learns what it would learn in bfloat16, no faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import Tensor
from paddle.nn import functional
from paddle.nn.functional import conv

AUTOCAST = {"bf16": "bfloat16", "16": "float16"}


@contextmanager
def autocast(precision: str) -> Iterator[None]:
    """Compute convolutions and linear layers in `trainer.precision`; 32 and 64 are what the network is in anyway."""
    dtype = AUTOCAST.get(precision)
    if dtype is None:  # 17 µs less a step than an auto_cast that is switched off
        yield
    elif paddle.get_device() == "cpu":
        with _rounding():
            yield
    else:
        with paddle.amp.auto_cast(dtype=dtype, level="O1"):
            yield


@contextmanager
def _rounding() -> Iterator[None]:
    """Let the functions that Paddle's layers call round to bfloat16."""
    owners: list[tuple[Any, str]] = [(conv, "_conv_nd"), (functional, "linear")]
    before = [getattr(owner, name) for owner, name in owners]
    for (owner, name), function in zip(owners, before, strict=True):
        setattr(owner, name, _rounded(function))
    try:
        yield
    finally:
        for (owner, name), function in zip(owners, before, strict=True):
            setattr(owner, name, function)


def _rounded(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(*args: Any, **kwargs: Any) -> Tensor:
        arguments = [_round(each) for each in args]
        return _round(function(*arguments, **{name: _round(each) for name, each in kwargs.items()}))

    return call


def _round(value: Any) -> Any:
    """float32 to the nearest bfloat16, still in float32, and its gradient likewise; anything else as it is."""
    if isinstance(value, Tensor) and value.dtype == paddle.float32:
        return value.astype("bfloat16").astype("float32")
    return value
