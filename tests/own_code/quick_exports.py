"""What every export of a test process pays again and again: seconds of latency, and torch's table of operations."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from mlstack.export import edge_report, model_card
from mlstack.export.targets import base

SECONDS = 0.05


def quick_exports() -> None:
    """From now on, latencies are measured for a moment only, and the table is made once."""
    model_card.MEASURED_S = edge_report.SECONDS = base.SECONDS = SECONDS
    with suppress(ModuleNotFoundError):  # without torch there is no table
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        made = ONNXRegistry.from_torchlib.__func__  # type: ignore[attr-defined]
        ONNXRegistry.from_torchlib = classmethod(cache(made))  # type: ignore[assignment,method-assign]
