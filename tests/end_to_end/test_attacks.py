"""Hostile and broken requests beside good ones, against the running service; more of it in benchmarks/serving."""

from __future__ import annotations

import asyncio
from itertools import chain
from pathlib import Path

import numpy as np
from attack_cases import attacks, interruptions
from attackers import Outcomes, carry_out
from running_service import running
from steady_client import SteadyClients, Tally, differs_from
from tiny_bundles import make_bundle

from mlstack.bundle.session import Session


def test_attacks_get_no_5xx_and_cost_no_good_request(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    pictures = np.random.default_rng(1).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
    outputs = {"1": Session(bundle.model()).run(pictures).output}

    async def beside_good_requests(port: int) -> tuple[Outcomes, Tally]:
        clients = SteadyClients(port, pictures, differs_from(outputs, bundle.metadata.classes), pause_s=0.005)
        outcomes = await carry_out(chain(attacks(bombs=False), interruptions(40, seed=0)), port, at_once=32)
        return outcomes, await clients.stop()

    limits = ("serve.access_log=false", "serve.read_timeout_s=0.5", "serve.device=cpu")
    with running(f"bundle={bundle.path}", *limits) as service:
        outcomes, tally = asyncio.run(beside_good_requests(service.port))
        assert service.get("/health").status == 200
        failed = [line for line in service.log if "Traceback" in line or '"error"' in line]
        assert service.stop() == 0
    assert outcomes.findings == []
    assert 421 not in outcomes.statuses  # a wrong host would hide what comes behind it
    assert sum(outcomes.statuses.values()) >= 150
    assert tally.failures == {}
    assert tally.right > 100
    assert failed == []
