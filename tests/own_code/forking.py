"""Forking as data loaders on Linux do, but from a process without other threads: a test process has many of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def in_a_forked_process(call: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a child of a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_forked, call, arguments).result()


def _forked(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(call, arguments)
