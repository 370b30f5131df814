"""A training on two hosts that loses them ends bit for bit as one that did not. Needs root and iproute2."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from held_digits import HOLD_VARIABLE
from two_hosts import INTERFACE, Host, cut_power, two_hosts

from mlstack.config.trainer import ENGINES

pytestmark = pytest.mark.framework

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "scripts" / "train.py")
SECONDS = 240
EPOCHS, STEPS = 3, 24  # steps an epoch: 384 pictures, 8 a rank
CLOCK = ("images_per_second", "cpu_seconds")
WORDS = (
    "data.name=held_digits",
    "data.target=held_digits:load",
    "data.args.train=384",
    "data.batch_size=8",
    "data.augment.crop=1",
    "model.learning_rate=0.01",
    "trainer.accelerator=cpu",
    "trainer.strategy=ddp",
    f"trainer.max_epochs={EPOCHS}",
    "trainer.checkpoint_every_n_steps=5",
    "trainer.log_every_n_steps=3",
    "trainer.ema_decay=0.9",
    "trainer.progress_bar=false",
    "tracker=none",
)
ELASTIC = [engine for engine in ENGINES if engine == "lightning"]  # whose launcher starts again by itself

Hosts = tuple[Host, Host]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        yield hosts


def torchrun(host: Host, store: Host) -> list[str]:
    """The launcher of torch, which knows the job by its --rdzv-id."""
    return [
        *("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{store.address}:29400", "--rdzv-id", "digits"),
        *("--rdzv-conf", f"is_host={int(host is store)},keep_alive_interval=1,keep_alive_max_attempt=3"),
        *("--local-addr", host.address, SCRIPT),
    ]


def paddle_launch(host: Host, store: Host, logs: Path) -> list[str]:
    """Paddle's, which has to be told rank and address, and whose processes have to be told the job."""
    return [
        *("-m", "paddle.distributed.launch", "--log_level", "ERROR", "--log_dir", str(logs / f"log{host.address}")),
        *("--nnodes", "2", "--nproc_per_node", "1", "--master", f"{store.address}:29500", "--host", host.address),
        *("--rank", str(int(host is not store)), SCRIPT, "trainer.job=digits"),
    ]


def launch(
    host: Host, store: Host, folder: Path, *, engine: str = "lightning", hold: Path | None = None
) -> subprocess.Popen[bytes]:
    """What is typed on one of the hosts."""
    environment = {
        "GLOO_SOCKET_IFNAME": INTERFACE,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "tests" / "own_code"),
        **({HOLD_VARIABLE: str(hold)} if hold else {}),
    }
    launcher = paddle_launch(host, store, folder) if engine == "paddle" else torchrun(host, store)
    network = f"model.target=tiny_networks_{engine}:noisy"
    return host.start(
        *(sys.executable, *launcher, *WORDS, f"trainer.engine={engine}", network, f"output_dir={folder / 'outputs'}"),
        said=folder / f"{host.namespace[-1]}.txt",
        cwd=ROOT,
        env=environment,
    )


def said(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("?.txt")))


def ended(folder: Path, *launchers: subprocess.Popen[bytes]) -> Path:
    """The only run folder, once the launchers have ended well."""
    deadline = time.monotonic() + SECONDS
    for launcher in launchers:
        try:
            assert launcher.wait(deadline - time.monotonic()) == 0, said(folder)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it hangs\n{said(folder)}")
    [run] = (folder / "outputs").glob("held_digits_*/*")
    assert json.loads((run / "results.json").read_text())["status"] == "finished"
    return run


def until_it_is_held(folder: Path, note: Path, *launchers: subprocess.Popen[bytes]) -> int:
    """The process on the second host that stands still in the second epoch."""
    deadline = time.monotonic() + SECONDS
    while not note.exists():
        assert all(launcher.poll() is None for launcher in launchers), said(folder)
        assert time.monotonic() < deadline, said(folder)
        time.sleep(0.02)
    return int(note.read_text())


@pytest.fixture(scope="module")
def undisturbed(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two hosts that are not lost."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with two_hosts() as (first, second):
        return ended(folder, *(launch(host, first, folder, engine=engine) for host in (first, second)))


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in CLOCK} for row in csv.DictReader(file)]


def arrays(value: Any, where: str = "") -> Iterator[tuple[str, bytes]]:
    """Every tensor of a checkpoint, bit for bit: weights, averages, optimizer."""
    if hasattr(value, "shape"):
        yield where, np.asarray(value).tobytes()
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from arrays(part, f"{where}/{key}")


def assert_the_same(engine: str, run: Path, reference: Path) -> None:
    state = importlib.import_module(f"training_{engine}").state
    ours, theirs = (dict(arrays(state(path / "checkpoints" / "last.ckpt"))) for path in (run, reference))
    assert ours.keys() == theirs.keys()
    assert any("optimizer" in name for name in ours)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert rows(run) == rows(reference)
    facts = json.loads((run / "results.json").read_text())
    assert (facts["steps"], facts["world_size"]) == (EPOCHS * STEPS, 2)


def assert_it_went_on_within_the_second_epoch(run: Path) -> None:
    lines = [line for line in (run / "train.log").read_text().splitlines() if "  resume  " in line]
    assert lines
    assert all("at epoch 2, " in line and " 0 of its batches" not in line for line in lines), lines


@pytest.mark.parametrize("engine", ELASTIC, indirect=True, scope="session")
@pytest.mark.parametrize("loss", ["its processes are killed", "its power is cut"])
def test_a_job_that_loses_a_host_goes_on_when_it_is_back(
    loss: str, engine: str, hosts: Hosts, undisturbed: Path, tmp_path: Path
) -> None:
    first, second = hosts
    note = tmp_path / "held"
    survivor, lost = launch(first, first, tmp_path), launch(second, first, tmp_path, hold=note)
    until_it_is_held(tmp_path, note, survivor, lost)
    if loss == "its power is cut":
        cut_power(second, first)
    else:
        second.lose()
    run = ended(tmp_path, survivor, launch(second, first, tmp_path))
    assert_it_went_on_within_the_second_epoch(run)
    assert_the_same(engine, run, undisturbed)


@pytest.mark.parametrize("engine", ELASTIC, indirect=True, scope="session")
def test_a_job_that_loses_a_process_starts_it_again(
    engine: str, hosts: Hosts, undisturbed: Path, tmp_path: Path
) -> None:
    first, second = hosts
    note = tmp_path / "held"
    launchers = launch(first, first, tmp_path), launch(second, first, tmp_path, hold=note)
    os.kill(until_it_is_held(tmp_path, note, *launchers), signal.SIGKILL)
    run = ended(tmp_path, *launchers)
    assert_it_went_on_within_the_second_epoch(run)
    assert_the_same(engine, run, undisturbed)


def test_a_job_whose_hosts_are_all_lost_goes_on_when_they_are_started_again(
    engine: str, hosts: Hosts, undisturbed: Path, tmp_path: Path
) -> None:
    first, second = hosts
    note = tmp_path / "held"
    launchers = [launch(host, first, tmp_path, engine=engine, hold=note if host is second else None) for host in hosts]
    until_it_is_held(tmp_path, note, *launchers)
    for host in hosts:
        host.lose()
    run = ended(tmp_path, *(launch(host, first, tmp_path, engine=engine) for host in hosts))
    assert_it_went_on_within_the_second_epoch(run)
    assert_the_same(engine, run, undisturbed)
