"""How often one client may ask: a token bucket for each key or address, in memory that doesn't grow.

A bucket is one number, the moment at which it will be full again (the generic cell rate algorithm of ITU-T I.371,
which lets through the same requests: https://www.itu.int/rec/T-REC-I.371).
"""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 10_000  # clients; about 2 MB
MAPPED = b"\0" * 10 + b"\xff\xff"  # how an IPv6 socket writes an IPv4 address: ::ffff:192.0.2.1 (RFC 4291)


class RateLimits:
    """Token buckets by client. To be asked from one thread.

    Args:
        per_second: Requests a second that a client may send for ever.
        burst: Requests that it may send at once, at least 1.
        clock: Seconds; never goes back.
        remembered: Clients at most; beyond that, whoever has not asked for the longest time starts afresh.
    """

    def __init__(
        self,
        per_second: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        remembered: int = REMEMBERED,
    ) -> None:
        self._interval = 1 / per_second
        self._slack = (max(1, burst) - 1) * self._interval
        self._clock = clock
        self._remembered = remembered
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, who: str) -> float:
        """Seconds until `who` may ask; 0 = now, and this request is counted. A refused one costs nothing."""
        now = self._clock()
        full_at = max(self._full_at.get(who, now), now)
        wait = full_at - now - self._slack
        allowed = wait <= 1e-9 * self._interval  # rounding must not hold back who came exactly in time
        self._full_at[who] = full_at + self._interval if allowed else full_at
        self._full_at.move_to_end(who)  # refused or not: who keeps asking is not forgotten
        if len(self._full_at) > self._remembered:
            self._full_at.popitem(last=False)
        return 0.0 if allowed else wait


def client_address(peer: str) -> str:
    """What of an address stands for a client: an IPv4 address, or the 64 bits of an IPv6 one that a network owns.

    Whoever has one IPv6 address has 2^64 of them, and would have as many buckets.
    """
    if ":" not in peer:
        return peer
    try:
        packed = socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])
    except (OSError, ValueError):
        return peer
    if packed.startswith(MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[len(MAPPED) :])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + b"\0" * 8) + "/64"
