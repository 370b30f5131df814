"""Stage 2 as a user starts it, on images that are there, with a small bundle in the place of stage 1's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from engine import Docker
from PIL import Image
from tiny_bundles import make_bundle

from mlstack.bundle.session import Session

SCRIPT = Path(__file__).parents[2] / "scripts" / "validate.py"
PICTURES = 6
# A busy machine may miss what is asked of speed; what is asked of the images stands.
PATIENT = ("docker.min_cpu_share=0", "docker.max_start_seconds=60", "docker.max_epoch_minutes=30")


@pytest.fixture
def left_by_stage_one(tmp_path: Path) -> Path:
    """The output folder with a bundle, pictures, and what the bundle answers for them in this process."""
    folder = tmp_path / "validate"
    (folder / "pictures").mkdir(parents=True)
    bundle = make_bundle(folder / "bundle")
    images = np.random.default_rng(1).integers(0, 256, (PICTURES, 8, 8, 1), dtype=np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / "pictures" / f"{number:04}.png")
    answers = Session(bundle.path / "model.onnx").run(images).output
    (folder / "expected.json").write_text(json.dumps(answers.tolist()))
    for path in [tmp_path, *tmp_path.rglob("*")]:  # the service's user is another one than ours
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path


def command(docker: Docker, folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """What is typed, and the environment in which its `docker` is the tests' own."""
    environment = {**docker.environment, "PATH": f"{Path(docker.program).parent}{os.pathsep}{os.environ['PATH']}"}
    stage = ["stage=docker", "docker.build=false", "models=[small_cnn]", f"output_dir={folder}", *words]
    return [sys.executable, str(SCRIPT), *stage], environment


def containers(docker: Docker) -> list[str]:
    return docker.run("ps", "--all", "--filter", "name=mlstack-validate", "--format", "{{.Names}}").split()


def test_stage_two_builds_its_report_from_real_containers(
    docker: Docker, serve_image: str, train_image: str, left_by_stage_one: Path
) -> None:
    words, environment = command(docker, left_by_stage_one, *PATIENT)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # the images are built from this very commit
    folder = left_by_stage_one / "validate"
    report = json.loads((folder / "docker.json").read_text())
    states = {one["name"]: one["status"] for one in report["criteria"]}
    assert {state for name, state in states.items() if "commit" not in name} == {"ok"}
    assert {"GPU in the train image", "checkpoint", "serve image", "pictures answered"} <= set(states)
    measured = report["measurements"]
    assert 0 < measured["peak_memory_mb"] < 2048
    assert 0 < measured["serve_memory_mb"] < 512
    assert measured["train_image_mb"] > measured["serve_image_mb"]
    assert measured["train_image_packages_mb"]["torch"] > 100
    answers = json.loads((folder / "predictions.docker.json").read_text())
    expected = json.loads((folder / "expected.json").read_text())
    for number, row in enumerate(expected):
        answer = answers[f"{number:04}.png"]
        assert answer["class"] == str(int(np.argmax(row)))
        assert [answer["probabilities"][str(place)] for place in range(10)] == pytest.approx(row, abs=1e-6)
    assert "the image that serves" in (folder / "docker.md").read_text()
    assert containers(docker) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_who_interrupts_it_finds_no_container_left(
    docker: Docker, serve_image: str, train_image: str, left_by_stage_one: Path, number: signal.Signals
) -> None:
    words, environment = command(docker, left_by_stage_one)
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not containers(docker):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert containers(docker) == []


def test_an_image_that_is_not_there_ends_in_one_line(docker: Docker, left_by_stage_one: Path) -> None:
    words, environment = command(docker, left_by_stage_one, "docker.train_image=mltest-b-none:1")
    words = [*words, "docker.serve_image=mltest-b-none:1"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: there is no image mltest-b-none:1"


def test_a_build_that_fails_names_the_builders_last_words_and_its_log(docker: Docker, left_by_stage_one: Path) -> None:
    words, environment = command(docker, left_by_stage_one, "docker.build=true", "docker.serve_image=mltest-b-none:1")
    words = [*words, "docker.build_args={PYTHON_IMAGE:scratch}"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: mltest-b-none:1 can't be built: ")
    assert "build.serve.log" in done.stderr
    assert (left_by_stage_one / "validate" / "build.serve.log").stat().st_size > 0
