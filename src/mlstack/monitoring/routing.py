"""Which arm of an experiment a key belongs to: always the same one, in each process and on each machine.

A key is hashed to [0, 1). With a canary, [0, share) is the canary's: its interval begins at 0, so that who is with the
canary stays with it while the share grows. Everybody else is split by a second number of the same hash, so that nobody
else changes arm meanwhile.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from mlstack.errors import ConfigError

SPLIT = "serve.split"
BITS = 53  # of a double's mantissa: the quotient is exact and never 1


class Router:
    """From keys to arms.

    Args:
        weights: Share of each arm that is split by weight; of any sum. The canary is not among them.
        canary: Arm whose interval begins at 0; None = there is none.
        salt: Another salt is another split: experiments that share users want salts of their own.

    Raises:
        ConfigError: A weight is negative or no finite number, or all of them are 0.
    """

    def __init__(self, weights: Mapping[str, Any], *, canary: str | None = None, salt: str = "mlstack") -> None:
        for arm, weight in weights.items():
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not number or not math.isfinite(weight) or weight < 0:
                raise ConfigError(f"{SPLIT}.{arm} is {weight!r}, expected a number of at least 0", key=f"{SPLIT}.{arm}")
        total = sum(weights.values())
        if not 0 < total < math.inf:
            raise ConfigError(f"{SPLIT} gives no arm a share: {dict(weights)}", key=SPLIT)
        self._arms = [arm for arm, weight in weights.items() if weight > 0]
        self._bounds = [bound / total for bound in accumulate(weights[arm] for arm in self._arms)][:-1]
        self._hash = hashlib.blake2b(digest_size=16)
        self._hash.update(f"{len(salt)}:{salt}:".encode(errors="surrogatepass"))
        self.canary = canary
        self.share = 0.0

    def arm_of(self, key: str) -> str:
        """The arm of a user id or request key; any text, the empty one too."""
        first, second = self.places_of(key)
        if first < self.share and self.canary is not None:
            return self.canary
        return self._arms[bisect_right(self._bounds, second)]

    def places_of(self, key: str) -> tuple[float, float]:
        """Two independent numbers in [0, 1), from blake2b of salt and key."""
        one = self._hash.copy()
        one.update(key.encode(errors="surrogatepass"))
        number = int.from_bytes(one.digest(), "big")
        return (number >> (128 - BITS)) * 2.0**-BITS, (number & ((1 << BITS) - 1)) * 2.0**-BITS

    def share_of(self, arm: str) -> float:
        """Share of all keys that an arm gets, 0 to 1."""
        if arm == self.canary:
            return self.share
        bounds = [0.0, *self._bounds, 1.0]
        widths = {name: bounds[at + 1] - bounds[at] for at, name in enumerate(self._arms)}
        return float((1 - self.share) * widths.get(arm, 0.0))
