from __future__ import annotations

import resource
import types

import pytest

from mlstack.utils.memory import peak_memory_mb


def test_a_process_has_held_some_memory() -> None:
    assert 5 < peak_memory_mb() < 1_000_000


@pytest.mark.parametrize(("system", "peak"), [("linux", 1024.0), ("darwin", 1.0)])
def test_linux_counts_in_kib_and_macos_in_bytes(system: str, peak: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda _: types.SimpleNamespace(ru_maxrss=2**20))
    assert peak_memory_mb() == peak
