"""New versions of a bundle and the end of the service, under load; more of it in benchmarks/serving."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

from running_service import RunningService, running
from steady_client import SteadyClients, Tally
from two_versions import TwoVersions

RELOADS = 5


def test_reloads_and_sigterm_under_load_lose_no_request_and_mix_no_versions(tmp_path: Path) -> None:
    versions = TwoVersions(tmp_path / "bundle")
    told: list[str] = []
    seen: list[set[str]] = []

    async def change(service: RunningService) -> Tally:
        clients = SteadyClients(service.port, versions.pictures, versions.wrong, count=4)
        await clients.reach(20)
        for _ in range(RELOADS):
            told.append(await asyncio.to_thread(versions.exchange))
            await versions.reload(service.port)
            await clients.settle()
            versions.answered = Counter()
            await clients.reach(20)
            seen.append(set(versions.answered))
        service.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(service.process.wait, 30)
        return await clients.stop()

    words = (f"bundle={versions.path}", "serve.access_log=false", "serve.reload_s=0", "serve.device=cpu")
    with running(*words) as service:
        tally = asyncio.run(change(service))
        assert service.process.returncode == 0
    assert tally.failures == {}
    assert seen == [{version} for version in told]
    assert tally.ended == 4  # each client was told with an answer that its connection ends
