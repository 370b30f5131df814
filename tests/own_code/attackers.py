"""Carries out attacks on a running service, several at once, and says what came of each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from attack_cases import Attack
from steady_client import connected, read_answer

PATIENCE = 30.0  # seconds for an answer
DRIP_S = 0.05  # between two bytes
DEAF_S = 2.0  # without reading


@dataclass
class Outcomes:
    """What came of attacks.

    Attributes:
        statuses: Answers by status.
        findings: What should not have happened: the attack's name and what came.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def note(self, attack: Attack, status: int | None) -> None:
        """Judge an answer; None = there was none."""
        self.statuses[status or 0] += 1
        owed = attack.manner == "whole"
        if status is None:
            if owed:
                self.findings.append(f"{attack.name}: no answer")
        elif status >= 500 or (status < 400 and owed and not attack.may_be_right):
            self.findings.append(f"{attack.name}: {status}")


async def carry_out(attacks: Iterable[Attack], port: int, *, at_once: int = 16) -> Outcomes:
    """All attacks, `at_once` of them at a time."""
    outcomes, waiting = Outcomes(), iter(attacks)

    async def attacker() -> None:
        for attack in waiting:
            try:
                status = await asyncio.wait_for(_attack(attack, port), PATIENCE)
            except TimeoutError:
                outcomes.findings.append(f"{attack.name}: neither an answer nor an end in {PATIENCE:.0f} s")
            else:
                outcomes.note(attack, status)

    await asyncio.gather(*(attacker() for _ in range(at_once)))
    return outcomes


async def _attack(attack: Attack, port: int) -> int | None:
    """The first answer's status, or None."""
    try:
        async with connected(port) as (reader, writer):
            if attack.manner == "drip":
                await _drip(attack.data, writer, reader)
            elif attack.manner == "deaf":
                await _stay_deaf(attack.data, writer)
            else:
                with contextlib.suppress(OSError):  # it was refused before all of it was there: the answer is readable
                    writer.write(attack.data)
                    await writer.drain()
            if attack.manner in ("cut", "reset", "deaf"):
                if attack.manner == "reset":
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return None
            if attack.manner == "half-closed":
                with contextlib.suppress(OSError):
                    writer.write_eof()
            return (await read_answer(reader)).status
    except (OSError, asyncio.IncompleteReadError):
        return None


async def _drip(data: bytes, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
    """Send byte by byte until the service has had enough, or all is sent."""
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(DRIP_S)
        if reader.at_eof() or writer.is_closing():
            return


async def _stay_deaf(data: bytes, writer: asyncio.StreamWriter) -> None:
    """Ask a lot and read nothing."""
    reading = writer.transport
    assert isinstance(reading, asyncio.Transport)
    reading.pause_reading()
    writer.write(data)
    with contextlib.suppress(TimeoutError, OSError):
        await asyncio.wait_for(writer.drain(), DEAF_S)
