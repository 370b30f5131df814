from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compose_project import ComposeProject, running_project
from engine import Docker
from steady_client import SteadyClients, Tally, differs_from
from tiny_bundles import make_bundle

from mlstack.bundle.session import Session

PICTURES = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
CLIENTS, STRANGERS = 6, 2  # on connections that they keep, and on a new one for each request
PAUSE = 0.01  # seconds of a client between two requests: the replicas shall get some of the processor too


class Judge:
    """Knows what both versions answer, and counts the answers of each."""

    def __init__(self, folder: Path) -> None:
        bundles = {version: make_bundle(folder / version, version=version, seed=int(version)) for version in "12"}
        outputs = {one: Session(bundle.model()).run(PICTURES).output for one, bundle in bundles.items()}
        self._wrong = differs_from(outputs, bundles["1"].metadata.classes)
        self.versions: Counter[str] = Counter()

    def wrong(self, place: int, answer: Any) -> str:
        self.versions[answer["version"]] += 1
        return self._wrong(place, answer)


@dataclass
class Stand:
    """The project, and where its bundles lie."""

    project: ComposeProject
    folder: Path
    judge: Judge


@pytest.fixture(scope="module")
def stand(docker: Docker, serve_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("rolling")
    judge = Judge(folder)
    with running_project(
        docker, serve_image, folder / "1", name="mltest-rolling", subnet="10.213.51", folder=folder
    ) as project:
        yield Stand(project, folder, judge)


def under_load(stand: Stand, disturb: Callable[[SteadyClients], Awaitable[None]]) -> Tally:
    """Let clients ask nginx while `disturb` runs, and a while before and after; what they saw."""

    async def both() -> Tally:
        stand.judge.versions.clear()
        clients = SteadyClients(stand.project.port, PICTURES, stand.judge.wrong, count=CLIENTS, pause_s=PAUSE)
        strangers = SteadyClients(
            stand.project.port, PICTURES, stand.judge.wrong, count=STRANGERS, pause_s=PAUSE, keep=False
        )
        try:
            await clients.reach(100)
            await disturb(clients)
            await clients.reach(100)
        finally:
            tallies = [await clients.stop(), await strangers.stop()]
        return Tally(sum(one.right for one in tallies), tallies[0].failures + tallies[1].failures)

    return asyncio.run(both())


def test_a_rolling_update_and_its_rollback_lose_no_request(stand: Stand) -> None:
    said: list[str] = []

    async def update(clients: SteadyClients) -> None:
        for words, version in (((f"BUNDLE={stand.folder / '2'}",), "2"), (("rollback",), "1")):
            done = await asyncio.to_thread(stand.project.update, *words)
            assert done.returncode == 0, done.stdout + done.stderr
            said.append(done.stdout)
            await clients.settle()
            stand.judge.versions.clear()
            await clients.reach(100)
            assert set(stand.judge.versions) == {version}

    tally = under_load(stand, update)
    assert not tally.failures and tally.right > 500
    assert [line.split()[0] for line in said[0].splitlines()] == ["serve-1", "serve-1", "serve-2", "serve-2", "undo"]
    assert f"BUNDLE={stand.folder / '1'}\n" in stand.project.env_file.read_text()


def test_an_update_that_does_not_get_ready_is_taken_back_and_loses_no_request(stand: Stand) -> None:
    broken = stand.folder / "broken"
    shutil.copytree(stand.folder / "2", broken)
    (broken / "model.onnx").write_bytes(b"nothing")
    before = stand.project.env_file.read_text()
    second = stand.project.container("serve-2")

    async def update(clients: SteadyClients) -> None:
        done = await asyncio.to_thread(stand.project.update, f"BUNDLE={broken}")
        assert done.returncode == 1
        assert "gets back what it had" in done.stderr and "model.onnx" in done.stderr

    tally = under_load(stand, update)
    assert not tally.failures and set(stand.judge.versions) == {"1"}
    assert stand.project.container("serve-2") == second  # it served alone, and was left alone
    assert sorted(stand.project.env_file.read_text().split()) == sorted(before.split())


def test_a_slip_of_the_one_who_updates_changes_nothing(stand: Stand) -> None:
    first = stand.project.container("serve-1")
    for words, reason in (
        ((), "say what is new"),
        (("BUNDEL=x",), "'BUNDEL=x' is not known"),
        ((f"BUNDLE={stand.folder / 'nowhere'}",), "there is no folder"),
        (("SERVE_IMAGE=mltest-nothing:1",), "there is no image mltest-nothing:1"),
    ):
        done = stand.project.update(*words)
        assert (done.returncode, done.stdout) == (2, "") and reason in done.stderr
    assert stand.project.container("serve-1") == first


def test_killed_replicas_lose_no_request_and_come_back(stand: Stand) -> None:
    async def kill(clients: SteadyClients) -> None:
        for replica in ("serve-1", "serve-2") * 2:
            restarts = stand.project.inspect(replica)["RestartCount"]
            await asyncio.to_thread(stand.project.kill_process, replica)
            while not await asyncio.to_thread(stand.project.came_back, replica, restarts):
                await clients.reach(20)

    assert not under_load(stand, kill).failures


def test_a_frozen_replica_holds_up_only_what_it_has_and_loses_nothing(stand: Stand) -> None:
    async def freeze(clients: SteadyClients) -> None:
        await asyncio.to_thread(stand.project.compose, "pause", "serve-1")
        try:
            await asyncio.wait_for(clients.reach(300), 11)  # answered before the first time-out, 12 s, of the others
            await clients.settle()
        finally:
            await asyncio.to_thread(stand.project.compose, "unpause", "serve-1")

    assert not under_load(stand, freeze).failures


def test_a_stopped_replica_is_noticed_and_loses_no_request(stand: Stand) -> None:
    async def stop(clients: SteadyClients) -> None:
        await asyncio.to_thread(stand.project.compose, "stop", "serve-2")
        await clients.reach(300)
        await asyncio.to_thread(stand.project.compose, "start", "serve-2")
        await clients.settle()

    assert not under_load(stand, stop).failures
