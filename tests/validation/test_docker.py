from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlstack.config.commands import ValidateConfig
from mlstack.config.validation import DockerStageConfig
from mlstack.errors import ContainerError, RunError
from mlstack.validation import probe, serving_container
from mlstack.validation.container import find_program, last_line, refuse_another_machine
from mlstack.validation.container_samples import Sample, busiest, parse, peak_memory
from mlstack.validation.docker import PROBE, stage_one, terminated_as_interrupted, validate_docker
from mlstack.validation.docker_criteria import (
    measured_service,
    measured_training,
    of_this_commit,
    service_criteria,
    training_criteria,
    what_is_inside,
)
from mlstack.validation.serving_container import ContainerService
from mlstack.validation.training_container import ContainerTraining, read_run

NO_ENGINE = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_RIGHT = "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, says: str, status: int, name: str = "docker") -> None:
    """A program of that name on the PATH, alone there, that says one thing and ends."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}' >&{1 if status == 0 else 2}\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("DOCKER_HOST", raising=False)


def left_by_stage_one(folder: Path) -> ValidateConfig:
    """A folder as stage 1 leaves it, as far as stage 2 looks before its work."""
    validate = folder / "validate"
    (validate / "bundle").mkdir(parents=True)
    (validate / "bundle" / "metadata.json").write_text("{}")
    (validate / "pictures").mkdir()
    (validate / "pictures" / "0000.png").write_bytes(b"png")
    return ValidateConfig(stage="docker", output_dir=str(folder))


def test_a_machine_without_a_container_program_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    config = left_by_stage_one(tmp_path / "outputs")
    with pytest.raises(ContainerError, match="stage 2 needs docker or podman, and this machine has none"):
        validate_docker(config)
    with pytest.raises(ContainerError, match="stage 2 needs podman"):
        validate_docker(replace(config, docker=DockerStageConfig(program="podman")))


@pytest.mark.parametrize(("says", "way_out"), [(NO_RIGHT, "usermod -aG docker"), (NO_ENGINE, "systemctl start docker")])
def test_an_engine_that_does_not_answer_comes_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, way_out: str
) -> None:
    install(tmp_path, monkeypatch, says=says, status=1)
    with pytest.raises(ContainerError) as error:
        validate_docker(left_by_stage_one(tmp_path / "outputs"))
    assert says in error.value.message
    assert way_out in error.value.hint


def test_the_script_ends_with_status_2_and_no_traceback_without_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, says=NO_ENGINE, status=1)
    left_by_stage_one(tmp_path / "outputs")
    script = Path(__file__).parents[2] / "scripts" / "validate.py"
    words = ["stage=docker", f"output_dir={tmp_path}/outputs"]
    answer = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("error: no container engine answers")
    assert len(answer.stderr.splitlines()) == 2


def test_podman_is_taken_where_there_is_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, says="4.3.1", status=0, name="podman")
    assert (find_program("auto").name, find_program("auto").version) == ("podman", "4.3.1")


@pytest.mark.parametrize(("name", "asked"), [("docker", "{{.Server.Version}}"), ("podman", "{{.Client.Version}}")])
def test_docker_s_version_is_its_engine_s_and_podman_s_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: str
) -> None:
    install(tmp_path, monkeypatch, says="", status=0, name=name)
    (tmp_path / name).write_text('#!/bin/sh\necho "$1 $2 $3"\n')
    assert find_program(name).version == f"version --format {asked}"


@pytest.mark.parametrize("host", ["ssh://someone@server", "tcp://10.0.0.7:2375"])
def test_an_engine_on_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ContainerError, match="another machine"):
        refuse_another_machine(host)


@pytest.mark.parametrize("host", ["", "unix:///run/user/1000/docker.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375"])
def test_an_engine_on_this_machine_is_taken(host: str) -> None:
    refuse_another_machine(host)


def test_stage_two_asks_for_stage_one_first(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"pictures is not there") as error:
        stage_one(tmp_path)
    assert "stage=venv" in error.value.hint
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0000.png").write_bytes(b"png")
    with pytest.raises(RunError, match="bundle is not there"):
        stage_one(tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\x1b[2J\x1b[H195.31% 1.5GiB / 2GiB\n", (1.9531, 1536.0)),
        ("0.50% 512MiB / 23.54GiB", (0.005, 512.0)),
        ("12.00% 104.8576MB / 2GB", (0.12, 100.0)),
        ("0.00% 0B / 0B", None),
        ("-- -- / --", None),
        ("", None),
    ],
)  # fmt: skip
def test_readings_of_both_programs_are_understood(line: str, expected: tuple[float, float] | None) -> None:
    sample = parse(line, at=1.0)
    assert (sample and (sample.cores, sample.memory_mb)) == (expected and pytest.approx(expected))


def test_the_busiest_stretch_is_the_training() -> None:
    cores = [0.9] * 5 + [1.9, 2.0, 2.0, 1.9] + [0.7] * 4  # imports, training, figures
    samples = [Sample(at, busy, 100.0 + at) for at, busy in enumerate(cores)]
    assert busiest(samples, 3) == pytest.approx(1.95)
    assert busiest(samples, 1000) == pytest.approx(sum(cores) / len(cores))
    assert busiest(samples[:2], 3) is None
    assert busiest([], 3) is None
    assert peak_memory(samples) == 112
    assert peak_memory([]) is None


def trained(tmp_path: Path, *, status: int = 0, out_of_memory: bool = False, cores: float = 1.8) -> ContainerTraining:
    """A training of 10 seconds on two cores, or one that was killed."""
    finished = {"epochs": 1, "train_seconds": 10.0, "cores_busy": 1.7, "images_per_second": 145.8,
                "peak_memory_mb": 900.0, "metrics": {"test": {"accuracy": 0.5}}}  # fmt: skip
    samples = [Sample(float(at), cores, 1000.0) for at in range(20)]
    results, names = (finished, ["best.ckpt"]) if status == 0 else ({}, [])
    return ContainerTraining(status, out_of_memory, 25.0, samples, results, names, tmp_path / "log")


def served(start: float = 1.2, memory: float | None = 100.0) -> ContainerService:
    answers = {"0000.png": {"class": "1", "probabilities": {"1": 1.0}}}
    return ContainerService([start, start + 1], [1.0, 2.0, 9.0], [0.5, 0.5, 0.5], memory, answers)


CONFIG = ValidateConfig(stage="docker", docker=DockerStageConfig(cpus=2.0))


def test_a_training_that_keeps_its_limits_passes(tmp_path: Path) -> None:
    training = trained(tmp_path)
    measured = measured_training(training, CONFIG)
    assert (measured["cpu_share"], measured["peak_memory_mb"]) == (pytest.approx(0.9), 1000.0)
    assert (measured["epoch_seconds"], measured["training_seconds"], measured["accuracy"]) == (10.0, 25.0, 0.5)
    assert {one.status for one in training_criteria(training, measured, CONFIG)} == {"ok"}


def test_a_training_that_is_too_slow_for_readings_is_not_judged_by_its_imports(tmp_path: Path) -> None:
    training = replace(trained(tmp_path), samples=[Sample(0.0, 0.9, 500.0)])
    assert measured_training(training, CONFIG)["cpu_share"] == pytest.approx(0.85)


def test_a_training_that_was_killed_fails_and_says_why(tmp_path: Path) -> None:
    training = trained(tmp_path, status=137, out_of_memory=True)
    criteria = training_criteria(training, measured_training(training, CONFIG), CONFIG)
    by_name = {one.name: one for one in criteria}
    assert by_name["training with 2g of memory"].value == "killed: it asked for more memory than it was granted"
    assert {one.status for one in criteria} >= {"fail"}
    assert by_name["checkpoint"].status == by_name["epoch"].status == "fail"
    assert trained(tmp_path, status=2).outcome == "exit status 2"


def test_idle_cores_fail_by_the_setting(tmp_path: Path) -> None:
    training = trained(tmp_path, cores=1.5)
    measured = measured_training(training, CONFIG)
    [share] = [one for one in training_criteria(training, measured, CONFIG) if one.name == "use of the granted cores"]
    assert (share.status, share.value) == ("fail", pytest.approx(0.75))
    easier = replace(CONFIG, docker=replace(CONFIG.docker, min_cpu_share=0.7))
    [share] = [one for one in training_criteria(training, measured, easier) if one.name == "use of the granted cores"]
    assert share.status == "ok"


def test_a_service_is_held_against_size_start_memory_and_answers() -> None:
    def states(service: ContainerService, size: float, pictures: int = 1) -> list[str]:
        measured = {**measured_service(service), "serve_image_mb": size}
        return [one.status for one in service_criteria(service, measured, CONFIG, pictures=pictures)]

    assert states(served(), 150.0) == ["ok", "ok", "ok", "ok"]
    assert states(served(), 201.0) == ["fail", "ok", "ok", "ok"]
    assert states(served(start=6.0), 150.0) == ["ok", "fail", "ok", "ok"]
    assert states(served(memory=600.0), 150.0) == ["ok", "ok", "fail", "ok"]
    assert states(served(memory=None), 150.0) == ["ok", "ok", "not_checked", "ok"]
    assert states(served(), 150.0, pictures=2) == ["ok", "ok", "ok", "fail"]
    assert measured_service(served())["start_seconds"] == 1.2
    assert measured_service(served())["latency_ms"] == 2.0


def test_an_image_of_another_commit_fails_and_one_that_does_not_tell_is_not_judged() -> None:
    commit = "0123456789abcdef"
    assert of_this_commit("serve", commit, commit).status == "ok"
    assert of_this_commit("serve", "f" * 16, commit).status == "fail"
    assert of_this_commit("serve", "unknown", commit).status == "not_checked"
    assert of_this_commit("serve", commit, "").status == "not_checked"


def test_a_gpu_or_its_libraries_in_an_image_fail() -> None:
    clean = {"devices": [], "frameworks_with_gpu": [], "cuda_libraries": [], "broken_frameworks": {}}
    assert [one.status for one in what_is_inside({"serve": clean, "train": clean})] == ["ok"] * 4
    seen = {**clean, "devices": ["/dev/nvidia0"], "frameworks_with_gpu": ["torch"]}
    seen["broken_frameworks"] = {"paddle": "libgomp.so.1: cannot open shared object file"}
    serve = {**clean, "cuda_libraries": ["libcudart.so.12"]}
    criteria = what_is_inside({"serve": serve, "train": seen})
    assert [one.status for one in criteria] == ["ok", "fail", "fail", "fail"]
    assert criteria[1].value == "/dev/nvidia0, torch sees a GPU"


def test_the_probe_finds_packages_and_cuda_libraries_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = probe.package_sizes()
    assert len(sizes) == probe.LISTED + 1
    assert list(sizes.values())[: probe.LISTED] == sorted(list(sizes.values())[: probe.LISTED], reverse=True)
    assert next(iter(sizes.values())) > 30
    for name in ("libcudart.so.13", "libcudnn_ops-1234.so.9", "libonnxruntime.so", "libcurand_notes.txt"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert probe.cuda_libraries() >= {"libcudart.so.13", "libcudnn_ops-1234.so.9"}
    assert "libonnxruntime.so" not in probe.cuda_libraries()


def test_the_probe_needs_nothing_but_python() -> None:
    """In an image it comes on standard input, to an interpreter without this package."""
    program = PROBE.read_text(encoding="utf-8")
    answer = subprocess.run([sys.executable, "-S", "-"], input=program, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["user"] == os.getuid()


def test_the_newest_run_is_read_and_an_empty_checkpoint_is_none(tmp_path: Path) -> None:
    assert read_run(tmp_path) == ({}, [])
    run = tmp_path / "digits_tiny" / "12-00"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    assert read_run(tmp_path) == ({}, [])
    (run / "results.json").write_text('{"status": "finished"}')
    (run / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (run / "checkpoints" / "last.ckpt").write_bytes(b"")
    (run / "checkpoints" / ".temporary.ckpt").write_bytes(b"weights")
    assert read_run(tmp_path) == ({"status": "finished"}, ["best.ckpt"])


def test_the_line_that_tells_most_is_found() -> None:
    assert last_line("step 1\nERROR: no such package\nexit code 1\n") == "ERROR: no such package"
    assert last_line("\x1b[31mone\x1b[0m\ntwo\n") == "two"
    assert last_line("") == "it said nothing"


def test_a_signal_to_end_is_taken_as_ctrl_c_only_while_containers_run() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_pictures_are_asked_for_in_turn_and_each_answer_timed_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 1.0, 1.25, 2.0, 2.001])
    monkeypatch.setattr(serving_container.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(serving_container, "ask", lambda port, body, connection: {"answers": body, "port": port})
    answers, latencies = serving_container.ask_for(1, [b"a", b"b"], requests=3)
    assert [one["answers"] for one in answers] == [b"a", b"b", b"a"]
    assert latencies == pytest.approx([500, 250, 1])


def test_a_service_that_does_not_answer_is_looked_at_every_second_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looked = 0.0, []

    class Program:
        def run(self, *words: str) -> str:
            looked.append(now)
            return "true\n" if len(looked) < 3 else "false\n"

        def logs(self, name: str) -> str:
            return "one\nthe last line"

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 0.25

    def refuse(port: int, picture: bytes) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(serving_container.time, "monotonic", lambda: now)
    monkeypatch.setattr(serving_container.time, "sleep", sleep)
    monkeypatch.setattr(serving_container, "ask", refuse)
    with pytest.raises(ContainerError, match="the service gave no answer: the last line"):
        serving_container.wait_for_answer(Program(), "name", 1, b"")  # type: ignore[arg-type]
    assert looked == [1.25, 2.5, 3.75]
