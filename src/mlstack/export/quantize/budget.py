"""How many of the most sensitive layers have to stay in 32 bits so that the score keeps its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Search:
    """Looks for the fewest layers to leave out, the most sensitive first, with about 2 log2(layers) measurements.

    Args:
        drop_without: Points lost with so many layers left out; expensive.
        layers: That there are; at least one is quantised in the end.
        max_drop: Points that may be lost.

    Attributes:
        drops: What was measured: layers left out → points lost.
    """

    drop_without: Callable[[int], float]
    layers: int
    max_drop: float
    drops: dict[int, float] = field(default_factory=dict)

    def fewest(self) -> int | None:
        """Layers to leave out; None where the budget isn't kept even with one layer quantised."""
        fails, enough = -1, 0
        while not self._keeps_budget(enough):
            if enough == self.layers - 1:
                return None
            fails, enough = enough, min(max(1, 2 * enough), self.layers - 1)
        while enough - fails > 1:
            middle = (fails + enough) // 2
            if self._keeps_budget(middle):
                enough = middle
            else:
                fails = middle
        return enough

    def _keeps_budget(self, left_out: int) -> bool:
        self.drops[left_out] = self.drop_without(left_out)
        return self.drops[left_out] <= self.max_drop
