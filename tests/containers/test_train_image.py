"""The image that trains, run as it would be: without privileges, with little memory, as a user who is not root."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Docker

HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
LITTLE_MEMORY = ("--memory", "2g", "--memory-swap", "2g")
# The smallest that is a whole training: a network of one convolution would be none.
QUICK = ("model=small_cnn", "data=digits", "trainer.max_epochs=1", "trainer.progress_bar=false", "tracker=none")
USER = 10001
MINUTES = 600.0  # seconds, for a training on a busy machine
Train = Callable[..., str]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A folder of this machine that the image's user may write to."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def train(docker: Docker, train_image: str, outputs: Path) -> Train:
    """`train("data=digits")`: run the image to its end with `outputs` mounted; what it printed."""
    name = f"mltest-b-train-{secrets.token_hex(4)}"

    def train(*words: str, options: tuple[str, ...] = ()) -> str:
        mounted = ("--volume", f"{outputs}:/app/outputs")
        try:
            return docker.run(
                "run", "--rm", "--name", name, *HARDENED, *LITTLE_MEMORY, *mounted, *options, train_image, *words,
                timeout=MINUTES,
            )  # fmt: skip
        finally:
            docker.process("rm", "--force", "--volumes", name)

    return train


def test_one_epoch_fits_into_two_gigabytes_and_can_be_gone_on_with(train: Train, outputs: Path) -> None:
    """In a mounted folder, as the user without rights; with a root that can't be written to."""
    said = train(*QUICK)
    assert "run folder  outputs/digits_small_cnn_lightning/" in said
    [run] = [path.parent for path in outputs.glob("*/*/results.json")]
    results = json.loads((run / "results.json").read_text())
    assert (results["status"], results["epochs"], results["device"]) == ("finished", 1, "cpu")
    assert results["peak_memory_mb"] < 2048
    assert results["hardware"]["memory_gb"] == 2.0  # the container's, and not the machine's
    assert (run / "checkpoints" / "last.ckpt").stat().st_uid == USER
    assert (run / "figures" / "learning_curves.png").stat().st_size > 0
    said = train(f"resume=outputs/{run.relative_to(outputs)}", "trainer.max_epochs=2")
    assert "training" in said
    results = json.loads((run / "results.json").read_text())
    assert (results["status"], results["epochs"]) == ("finished", 2)
    assert len(list(outputs.glob("*/*/results.json"))) == 1


def test_the_recipe_for_containers_trains(train: Train, outputs: Path) -> None:
    train("recipe=docker_cpu", "model=small_cnn", "trainer.max_epochs=1")
    [run] = [path.parent for path in outputs.glob("*/*/results.json")]
    assert json.loads((run / "results.json").read_text())["status"] == "finished"


def test_another_user_may_run_it(train: Train, outputs: Path) -> None:
    """Who mounts a folder of their own runs the container as themselves: --user $(id -u):$(id -g)."""
    outputs.chmod(0o755)
    train(
        *QUICK, "trainer.limit_train_batches=2", options=("--user", f"{outputs.stat().st_uid}:{outputs.stat().st_gid}")
    )
    [results] = outputs.glob("*/*/results.json")
    assert json.loads(results.read_text())["status"] == "finished"


def test_a_folder_that_may_not_be_written_ends_in_one_line(docker: Docker, train_image: str, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o755)
    command = ("run", "--rm", *HARDENED, "--volume", f"{folder}:/app/outputs", train_image, *QUICK)
    done = docker.process(*command, timeout=MINUTES)
    assert done.returncode == 2
    assert "can't be made: Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_wrong_ends_with_status_2(docker: Docker, train_image: str) -> None:
    done = docker.process("run", "--rm", *HARDENED, train_image, "trainer.max_epoch=3")
    assert done.returncode == 2
    assert "trainer.max_epochs" in done.stderr


def test_another_script_runs_through_the_entry_point(docker: Docker, train_image: str) -> None:
    """Also one that looks at the machine; a container has no right to ask for much of it."""
    words = ("--entrypoint", "python", train_image, "scripts/check_env.py", "json=true")
    done = docker.process("run", "--rm", *HARDENED, *words, timeout=MINUTES)
    assert isinstance(json.loads(done.stdout), dict | list)
    said = docker.run("run", "--rm", *HARDENED, "--entrypoint", "python", train_image, "scripts/export.py", "--help")
    assert "scripts/export.py" in said


def test_no_gpu_is_in_sight_and_the_user_is_no_root(docker: Docker, train_image: str) -> None:
    program = (
        "import json, os, pathlib, torch\n"
        "devices = [path.name for path in pathlib.Path('/dev').iterdir() if path.name.startswith('nvidia')]\n"
        "print(json.dumps([os.getuid(), os.getgid(), devices, torch.cuda.is_available()]))"
    )
    options = ("--rm", *HARDENED, "--entrypoint", "python", train_image)
    said = docker.run("run", *options, "-c", program, timeout=MINUTES)
    assert json.loads(said.splitlines()[-1]) == [USER, USER, [], False]
    said = docker.run(
        "run", *options, "-W", "ignore", "-c", "import paddle; print(paddle.device.get_device())", timeout=MINUTES
    )
    assert said.splitlines()[-1] == "cpu"


def test_the_image_holds_code_and_settings_but_neither_results_nor_history(docker: Docker, train_image: str) -> None:
    program = "import os; print(*sorted(os.listdir('/app')))"
    said = docker.run("run", "--rm", "--entrypoint", "python", train_image, "-c", program).split()
    assert {"configs", "data", "outputs", "scripts", "src"} <= set(said)
    assert {".git", "tests", ".venv", "deploy", "benchmarks"} & set(said) == set()
