"""The `serve` image: what is in it, what it may do, and that it answers as the same service outside."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from engine import ROOT, Docker, commit
from input_cases import FORM, form, photographs
from running_container import ANYBODY, HARDENED, RunningContainer, container, readable
from running_service import running
from tiny_bundles import make_bundle

SIZE_BAR = 170e6  # bytes, uncompressed
MEMORY = "256m"
USER = "10001"
SHELLS = {"sh", "bash", "dash", "ash", "busybox", "zsh"}
TOOLS = {"apt", "apt-get", "dpkg", "pip", "pip3", "perl", "curl", "wget", "gcc", "ld", "ldconfig", "python3-config"}
PICTURES = photographs((310, 470))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for colour pictures of 32 pixels."""
    return readable(make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", size=32, channels=3).path)


@pytest.fixture(scope="module")
def service(docker: Docker, serve_image: str, bundle: Path) -> Iterator[RunningContainer]:
    """A service that many tests ask and none changes."""
    with container(docker, serve_image, ANYBODY, bundle=bundle) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def files(docker: Docker, serve_image: str, tmp_path_factory: pytest.TempPathFactory) -> list[tarfile.TarInfo]:
    """Everything in the image."""
    archive = tmp_path_factory.mktemp("files") / "files.tar"
    name = docker.run("create", serve_image)
    try:
        docker.run("export", "--output", archive, name)
    finally:
        docker.run("rm", name)
    with tarfile.open(archive) as opened:
        return opened.getmembers()


def upload(service: RunningContainer, picture: bytes, **headers: str) -> int:
    """The status that one picture gets."""
    return service.ask("POST", "/predict_image", form(("file", "a", picture)), content_type=FORM, **headers).status


def in_flight(service: RunningContainer) -> int:
    """Requests that are being answered, without the one that asks."""
    [value] = re.findall(r"^inference_in_flight_requests (\S+)", service.get("/metrics").body.decode(), re.MULTILINE)
    return int(float(value)) - 1


def test_the_image_is_no_larger_than_170_mb(docker: Docker, serve_image: str) -> None:
    assert docker.size(serve_image) <= SIZE_BAR


def test_no_shell_package_manager_compiler_or_installer_is_in_the_image(files: list[tarfile.TarInfo]) -> None:
    programs = {Path(file.name).name for file in files if not file.isdir() and file.mode & 0o111}
    assert {"python"} <= {Path(file.name).name for file in files}
    assert not programs & (SHELLS | TOOLS)
    folders = {Path(file.name).name for file in files if file.isdir()}
    assert not folders & {"pip", "setuptools", "ensurepip", "dpkg", "apt"}


def test_no_gpu_library_test_or_header_is_in_the_image(files: list[tarfile.TarInfo]) -> None:
    names = [file.name for file in files]
    gpu = re.compile(r"(cuda|nvidia|cudnn|cublas|nvinfer|torch|paddle)[^/]*\.so", re.IGNORECASE)
    assert not [name for name in names if gpu.search(name)]
    assert [name for name in names if re.search(r"onnxruntime[^/]*\.so", name)]
    assert not [name for name in names if name.endswith((".h", ".a")) or "/tests/" in name]


def test_no_file_of_the_image_gives_rights_or_can_be_changed_by_the_service(files: list[tarfile.TarInfo]) -> None:
    assert not [file.name for file in files if file.mode & 0o6000]  # setuid, setgid
    anybodys = [
        file.name for file in files if not file.issym() and file.mode & 0o002 and file.name.rstrip("/") != "tmp"
    ]
    assert anybodys == []
    owned = {file.name.rstrip("/") for file in files if file.uid != 0}
    assert owned == {"data"}


def test_labels_tell_what_the_image_is_and_which_commit_it_was_made_from(docker: Docker, serve_image: str) -> None:
    labels = json.loads(docker.run("image", "inspect", "--format", "{{json .Config.Labels}}", serve_image))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert found["title"] == "ml-serve"
    assert found["version"] == project["version"]
    assert found["revision"] == commit()
    assert found["licenses"] == project["license"]
    assert {"description", "source"} <= set(found)


def test_the_service_runs_without_any_rights(service: RunningContainer) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in service.python("print(open('/proc/1/status').read())").splitlines()
        if ":\t" in line
    )
    assert status["Uid"].split() == [USER] * 4
    assert status["Gid"].split() == [USER] * 4
    assert status["NoNewPrivs"] == "1"
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))


def test_the_service_can_write_nowhere_when_the_root_is_read_only(service: RunningContainer) -> None:
    code = (
        "import os; system = ('/proc', '/sys', '/dev');"
        "places = [place for place, _, _ in os.walk('/') if not place.startswith(system)];"
        "print([place for place in places if os.access(place, os.W_OK)], len(places) > 100)"
    )
    assert service.python(code) == "[] True"


def test_no_gpu_device_is_seen(service: RunningContainer) -> None:
    assert service.python("import glob; print(glob.glob('/dev/nvidia*') + glob.glob('/dev/dri*'))") == "[]"
    assert service.get("/metadata").json["provider"] == "CPUExecutionProvider"


def test_it_runs_on_uvloop_and_gives_memory_back(service: RunningContainer) -> None:
    maps = service.python("print(open('/proc/1/maps').read())")
    assert "/uvloop/loop." in maps
    code = "import ctypes; from mlstack.serving.life import MALLOC; c = ctypes.CDLL(None);"
    code += "print([c.mallopt(name, value) for name, value in MALLOC.items()])"
    assert service.python(code) == "[1, 1, 1]"  # what mallopt says when it has taken a setting


def test_onnx_runtime_reports_to_nobody(service: RunningContainer) -> None:
    assert service.python("import os; print(os.environ['ORT_DISABLE_TELEMETRY'])") == "1"
    assert "telemetry" not in service.log()  # where it is on, a read-only root has it complain


def test_every_kind_of_picture_is_answered_as_outside(service: RunningContainer, bundle: Path) -> None:
    with running(f"bundle={bundle}", "serve.access_log=false") as outside:
        for name, data in PICTURES.items():
            body = form(("file", name, data))
            there = outside.ask("POST", "/predict_image?top_k=10", body, content_type=FORM)
            here = service.ask("POST", "/predict_image?top_k=10", body, content_type=FORM)
            assert (here.status, there.status) == (200, 200), (name, here.body)
            [one], [other] = here.json["predictions"], there.json["predictions"]
            assert one["class"] == other["class"], name
            names = sorted(other["probabilities"])
            rows = [[each["probabilities"][label] for label in names] for each in (one, other)]
            np.testing.assert_allclose(rows[0], rows[1], rtol=0, atol=1e-6, err_msg=name)
        assert outside.stop() == 0


def test_page_description_and_metrics_are_served(service: RunningContainer) -> None:
    assert upload(service, PICTURES["plain.jpg"]) == 200
    assert b"<html" in service.get("/").body
    assert service.get("/openapi.json").json["openapi"]
    metrics = service.get("/metrics").body.decode()
    assert re.search(r'^inference_requests_total\{model="digits_tiny",status="200"\} [1-9]', metrics, re.MULTILINE)


def test_the_health_check_turns_healthy_also_at_another_port(docker: Docker, serve_image: str, bundle: Path) -> None:
    options = (*HARDENED, "--health-interval", "1s")
    with container(docker, serve_image, ANYBODY, "serve.port=8123", bundle=bundle, options=options) as service:
        words = [docker.program, "events", "--since", "10m", "--filter", f"container={service.name}"]
        words += ["--filter", "event=health_status", "--format", "{{.Status}}"]
        with subprocess.Popen(words, env=docker.environment, stdout=subprocess.PIPE, text=True) as events:
            assert events.stdout is not None
            assert events.stdout.readline().strip() == "health_status: healthy"
            events.terminate()


def test_the_health_check_fails_where_nobody_answers(docker: Docker, serve_image: str) -> None:
    done = docker.process("run", "--rm", "--entrypoint", "python", serve_image, "/app/healthcheck.py")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_sigterm_answers_what_was_accepted_and_ends_with_status_0(
    docker: Docker, serve_image: str, bundle: Path
) -> None:
    waiting = ("serve.max_batch=64", "serve.max_wait_ms=5000")  # nobody is answered before the signal
    with (
        container(docker, serve_image, ANYBODY, *waiting, bundle=bundle) as service,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(upload, service, PICTURES["plain.png"]) for _ in range(8)]
        while in_flight(service) < len(asked):
            assert not any(one.done() for one in asked)
        assert service.stop() == 0
        assert [one.result() for one in asked] == [200] * 8


def test_a_bundle_that_is_replaced_in_a_mounted_folder_is_served(
    docker: Docker, serve_image: str, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    make_bundle(models / "tiny", version="1")
    with container(docker, serve_image, ANYBODY, "serve.reload_s=0.1", bundle=readable(models)) as service:
        assert service.get("/metadata").json["version"] == "1"
        make_bundle(tmp_path / "new", version="2", seed=1)
        readable(tmp_path / "new").rename(models / "new")
        (models / "tiny").rename(tmp_path / "old")
        (models / "new").rename(models / "tiny")
        statuses = []
        while service.get("/metadata").json["version"] != "2":
            statuses.append(service.get("/ready").status)
        assert set(statuses) <= {200}


def test_only_who_has_a_key_is_answered(docker: Docker, serve_image: str, bundle: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o777)
    keys.chmod(0o777)
    made = docker.run(
        *("run", "--rm", *HARDENED, "-v", f"{keys}:/keys", "--entrypoint", "python", serve_image),
        *("/app/scripts/make_api_key.py", "name=alice", "file=/keys/keys.txt"),
    )
    key = made.split()[1]
    options = (*HARDENED, "-v", f"{keys}:/keys:ro")
    with container(
        docker, serve_image, "serve.api_keys_file=/keys/keys.txt", bundle=bundle, options=options
    ) as service:
        assert upload(service, PICTURES["plain.jpg"]) == 401
        assert upload(service, PICTURES["plain.jpg"], authorization=f"Bearer {key}") == 200
        assert service.get("/health").status == 200
        assert key not in service.log()


def test_the_journal_is_written_to_a_volume(docker: Docker, serve_image: str, bundle: Path) -> None:
    settings = (ANYBODY, "serve.journal.folder=/data/journal", "serve.journal.fraction=1")
    with container(docker, serve_image, *settings, bundle=bundle, options=(*HARDENED, "-v", "/data")) as service:
        assert upload(service, PICTURES["plain.jpg"]) == 200
        code = "import os; print(sum(len(names) for _, _, names in os.walk('/data/journal')))"
        assert int(service.python(code)) > 0


def test_it_keeps_within_256_mb_while_64_clients_ask(docker: Docker, serve_image: str, bundle: Path) -> None:
    options = (*HARDENED, "--memory", MEMORY, "--memory-swap", MEMORY)
    with container(docker, serve_image, ANYBODY, bundle=bundle, options=options) as service:
        with ThreadPoolExecutor(64) as pool:
            statuses = list(pool.map(lambda data: upload(service, data), list(PICTURES.values()) * 30))
        assert statuses == [200] * len(statuses)
        assert service.inspect("{{.State.Running}} {{.State.OOMKilled}} {{.RestartCount}}") == "true false 0"


def test_a_bundle_can_be_baked_in_with_two_lines(docker: Docker, serve_image: str, bundle: Path) -> None:
    context = bundle.parent
    (context / "Dockerfile").write_text(f"FROM {serve_image}\nCOPY {bundle.name} /bundle\n")
    tag = "mltest-baked:latest"
    docker.build("", tag, dockerfile="Dockerfile", context=context)
    try:
        with container(docker, tag, ANYBODY) as service:
            assert upload(service, PICTURES["plain.jpg"]) == 200
    finally:
        docker.run("image", "rm", tag)


@pytest.mark.parametrize(
    ("settings", "mounted", "told"),
    [
        ((ANYBODY,), False, "docker run -v FOLDER:/bundle:ro … mounts a bundle"),
        ((), True, "docker run -v FOLDER:/keys:ro … serve.api_keys_file=/keys/keys.txt mounts the file of keys"),
        (
            ("serve.api_keys_file=/keys/keys.txt",),
            True,
            "docker run -v FOLDER:/keys:ro … mounts the folder of the keys",
        ),
    ],
)
def test_what_is_missing_is_said_in_a_containers_words(
    docker: Docker, serve_image: str, bundle: Path, settings: tuple[str, ...], mounted: bool, told: str
) -> None:
    mount = ("-v", f"{bundle}:/bundle:ro") if mounted else ()
    done = docker.process("run", "--rm", *HARDENED, *mount, serve_image, *settings)
    assert done.returncode == 2
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert last == f"in a container: {told}"
    assert len(done.stderr.splitlines()) <= 4


def test_a_bundle_that_the_images_user_may_not_read_is_named(docker: Docker, serve_image: str, tmp_path: Path) -> None:
    path = readable(make_bundle(tmp_path / "tiny").path)
    (path / "model.onnx").chmod(0o600)
    done = docker.process("run", "--rm", *HARDENED, "-v", f"{path}:/bundle:ro", serve_image, ANYBODY)
    assert done.returncode == 2
    assert f"in a container: user {USER} may not read /bundle/model.onnx: chmod -R a+rX FOLDER" in done.stderr
