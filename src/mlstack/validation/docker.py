"""Stage 2: build the CPU images, train one epoch and serve stage 1's bundle in containers, and measure both.

Neither image may know a GPU. What stage 2 asks the service is what stage 1 asked the model, so that the two can be
compared: scripts/compare_performance.py.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mlstack.errors import ContainerError, RunError
from mlstack.provenance import git_state, provenance
from mlstack.runs import write_text
from mlstack.utils.console import say
from mlstack.validation.container import ContainerProgram, find_program
from mlstack.validation.docker_criteria import (
    measured_service,
    measured_training,
    of_this_commit,
    service_criteria,
    training_criteria,
    what_is_inside,
)
from mlstack.validation.report import Criterion, StageReport, read_report
from mlstack.validation.serving_container import ContainerService, serve_in_container
from mlstack.validation.training_container import HARDENED, ContainerTraining, train_in_container
from mlstack.validation.venv import training_words

if TYPE_CHECKING:
    from mlstack.config.commands import ValidateConfig

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "cpu" / "Dockerfile"
PROBE = Path(__file__).with_name("probe.py")
PREDICTIONS = "predictions.docker.json"
REVISION = "org.opencontainers.image.revision"
REQUESTS = {"quick": 200, "full": 2000}
SIZES_OF_A_GPU = ("data.image_size=", "data.batch_size=")
MEGABYTE = 10**6
PROBE_TIMEOUT_S = 300.0  # it imports the frameworks, from a disk that has not seen them yet


def validate_docker(config: ValidateConfig) -> StageReport:
    """Run stage 2; what it finds is the report.

    Raises:
        ContainerError: No engine answers, an image can't be built, or a container can't be started.
        RunError: Stage 1 has left no bundle or no pictures.
    """
    folder = Path(config.output_dir) / "validate"
    bundle, pictures = stage_one(folder)
    program = find_program(config.docker.program)
    images = {"serve": config.docker.serve_image, "train": config.docker.train_image}
    with terminated_as_interrupted():
        measurements = build(program, config, images, folder) if config.docker.build else {}
        for image in images.values():
            refuse_missing(program, image)
        inside = {target: look_inside(program, image) for target, image in images.items()}
        training = run_training(program, config, folder)
        service = run_service(program, config, bundle, pictures)
    write_text(folder / PREDICTIONS, json.dumps(service.predictions, indent=2, ensure_ascii=False) + "\n")
    sizes = {f"{target}_image_mb": program.image_bytes(image) / MEGABYTE for target, image in images.items()}
    commit = str(git_state().get("commit", ""))
    measurements |= {
        **measured_training(training, config),
        **measured_service(service),
        "training_words": words_of_stage_one(config, folder),
        **sizes,
        **{f"{target}_image_commit": program.image_label(image, REVISION) for target, image in images.items()},
        "train_image_packages_mb": inside["train"]["packages_mb"],
        "serve_image_packages_mb": inside["serve"]["packages_mb"],
    }
    criteria = (
        *(of_this_commit(target, measurements[f"{target}_image_commit"], commit) for target in images),
        *what_is_inside(inside),
        *training_criteria(training, measurements, config),
        *service_criteria(service, measurements, config, pictures=len(pictures)),
    )
    return as_report(config, program, criteria, measurements)


def stage_one(folder: Path) -> tuple[Path, list[Path]]:
    """The bundle and the pictures that stage 1 left.

    Raises:
        RunError: They are not there.
    """
    bundle, pictures = folder / "bundle", sorted((folder / "pictures").glob("*.png"))
    if not (bundle / "metadata.json").is_file() or not pictures:
        missing = bundle if pictures else folder / "pictures"
        raise RunError(
            f"stage 2 serves the bundle of stage 1, and {missing} is not there",
            hint="first: python scripts/validate.py stage=venv (without a GPU: allow_cpu=true)",
        )
    return bundle, pictures


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, by way of what removes its containers."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def build(
    program: ContainerProgram, config: ValidateConfig, images: dict[str, str], folder: Path
) -> dict[str, Any]:  # fmt: skip
    """Build both images; how long each took, in seconds."""
    commit = str(git_state().get("commit", "unknown"))
    arguments = {"VERSION": version("mlstack"), "REVISION": commit, **config.docker.build_args}
    seconds = {}
    for target, image in images.items():
        log = folder / f"build.{target}.log"
        say(f"building {image}; what the builder says: {log}")
        start = datetime.now(UTC)
        program.build(ROOT, DOCKERFILE, target=target, image=image, log=log, arguments=arguments,
                      network=config.docker.build_network)  # fmt: skip
        seconds[f"{target}_image_build_seconds"] = (datetime.now(UTC) - start).total_seconds()
    return seconds


def refuse_missing(program: ContainerProgram, image: str) -> None:
    """End with one line where an image is not there.

    Raises:
        ContainerError: It is not.
    """
    if not program.has_image(image):
        raise ContainerError(f"there is no image {image}", hint="build it: docker.build=true, or make image-cpu")


def look_inside(program: ContainerProgram, image: str) -> dict[str, Any]:
    """What the Python inside an image tells about it; see probe.py."""
    name = f"mlstack-validate-probe-{os.getpid()}"
    words = ("run", "--interactive", "--name", name, *HARDENED, "--entrypoint", "python", image, "-")
    try:
        said = program.run(*words, text=PROBE.read_text(encoding="utf-8"), timeout_s=PROBE_TIMEOUT_S)
    finally:
        program.remove(name)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def run_training(program: ContainerProgram, config: ValidateConfig, folder: Path) -> ContainerTraining:
    """One epoch, told what stage 1 told its own."""
    words = words_of_stage_one(config, folder)
    say(f"training in {config.docker.train_image} with {config.docker.memory} of memory: {' '.join(words)}")
    place = ["trainer.accelerator=cpu", "trainer.progress_bar=false"]
    name = f"mlstack-validate-train-{os.getpid()}"
    return train_in_container(
        program, config.docker, [*words, *place], name=name, folder=folder / "docker", data=Path("data")
    )


def words_of_stage_one(config: ValidateConfig, folder: Path) -> list[str]:
    """What stage 1 told scripts/train.py, by its report; where there is none, by its rules.

    Sizes that keep a GPU busy are left out: they take a processor hours, and more memory than a container is granted.
    """
    try:
        report = read_report(folder / "venv.json")
        words = [str(word) for word in report.measurements["training_words"]]
    except (RunError, KeyError):
        return training_words(config)
    return words if report.dry_run else [word for word in words if not word.startswith(SIZES_OF_A_GPU)]


def run_service(
    program: ContainerProgram, config: ValidateConfig, bundle: Path, pictures: Sequence[Path]
) -> ContainerService:
    """Serve, ask, measure."""
    say(f"serving {bundle} from {config.docker.serve_image}")
    return serve_in_container(
        program, config.docker, name=f"mlstack-validate-serve-{os.getpid()}", bundle=bundle, pictures=pictures,
        requests=REQUESTS[config.profile],
    )  # fmt: skip


def as_report(
    config: ValidateConfig, program: ContainerProgram, criteria: tuple[Criterion, ...], measurements: dict[str, Any]
) -> StageReport:
    """The report of stage 2, made now on this machine."""
    facts = provenance()
    git = facts["git"]
    return StageReport(
        stage="docker",
        profile="full" if config.profile == "full" else "quick",
        commit=git.get("commit", ""),
        dirty=git.get("uncommitted_changes", False),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dry_run=False,
        machine=facts["hardware"],
        versions={**facts["versions"], program.name: program.version},
        criteria=criteria,
        measurements=measurements,
        predictions=PREDICTIONS,
    )
