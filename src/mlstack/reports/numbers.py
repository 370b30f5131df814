"""Numbers of unknown size, as short as people write them."""

from __future__ import annotations


def short_number(value: float) -> str:
    """0.2098 → 0.21, 34.2 → 34.20, 123456.7 → 123,457, 0.00031 → 0.00031; NaN and infinity by name."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
