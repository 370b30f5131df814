from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy").rglob("*Dockerfile*"))
NAMES = [str(path.relative_to(ROOT)) for path in DOCKERFILES]
each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=NAMES)

# What the two train images may differ in: the word itself, and whose build of a framework comes from where.
OF_ONE_DEVICE = re.compile(r"cpu|gpu|nvidia|TORCH_CPU_INDEX|PADDLE_GPU_INDEX", re.IGNORECASE)


def instructions(path: Path) -> Iterator[tuple[str, str]]:
    """Each instruction's name and arguments, continued lines joined, comments left out."""
    text = "\n".join(
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    )
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            yield name, arguments.strip()


def with_defaults(word: str, path: Path) -> str:
    """A word with each `${NAME}` replaced by the default of the build argument of that name."""
    defaults = dict(
        arguments.split("=", 1) for name, arguments in instructions(path) if name == "ARG" and "=" in arguments
    )
    return re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], word)


def stages(path: Path) -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, those of the stage that it goes on from included."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, arguments in instructions(path):
        if instruction == "FROM":
            name = arguments.split()[-1]
            found[name] = list(found.get(arguments.split()[0], ()))
        elif name:
            found[name].append((instruction, arguments))
    return found


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert {"deploy/cpu/Dockerfile", "deploy/gpu/Dockerfile"} <= set(NAMES)


@each_dockerfile
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert program, "hadolint is missing: make setup-dev"
    answer = subprocess.run([program, str(dockerfile)], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


@each_dockerfile
def test_every_base_is_pinned_by_a_tag(dockerfile: Path) -> None:
    known = {"scratch"}
    for name, arguments in instructions(dockerfile):
        if name == "FROM":
            base = with_defaults(arguments.split()[0], dockerfile)
            _, _, tag = base.rpartition(":")
            assert base in known or (":" in base and tag != "latest"), base
            known.add(arguments.split()[-1])


@each_dockerfile
def test_what_runs_is_a_numbered_user_who_is_not_root(dockerfile: Path) -> None:
    """By number, so that Kubernetes' runAsNonRoot can tell."""
    ending = {
        name: content for name, content in stages(dockerfile).items() if any(i == "ENTRYPOINT" for i, _ in content)
    }
    assert ending
    for name, content in ending.items():
        users = [arguments for instruction, arguments in content if instruction == "USER"]
        assert users, name
        assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users), users


@each_dockerfile
def test_entry_points_and_health_checks_need_no_shell(dockerfile: Path) -> None:
    for name, arguments in instructions(dockerfile):
        if name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
            command = arguments[arguments.index("[") :] if "[" in arguments else arguments
            assert isinstance(json.loads(command), list), arguments
            assert "curl" not in command


@each_dockerfile
def test_nothing_is_fetched_but_packages_by_their_pins(dockerfile: Path) -> None:
    for name, arguments in instructions(dockerfile):
        assert name != "ADD", arguments
        if name == "RUN":
            assert not re.search(r"\b(curl|wget|git clone)\b", arguments), arguments
            for install in re.findall(r"pip[^&;]* install ([^&;]*)", arguments):
                assert "-r requirements" in install, install


@each_dockerfile
def test_no_secret_is_an_argument_or_a_variable(dockerfile: Path) -> None:
    """Both stay in the image for who has it."""
    for name, arguments in instructions(dockerfile):
        if name in ("ARG", "ENV"):
            assert not re.search(r"PASSW|SECRET|TOKEN|API_KEY|CREDENTIAL|://[^/\s]*@", arguments, re.IGNORECASE), (
                arguments
            )


@each_dockerfile
def test_what_is_copied_is_there(dockerfile: Path) -> None:
    for name, arguments in instructions(dockerfile):
        words = [word for word in arguments.split() if not word.startswith("--")]
        if name == "COPY" and "--from=" not in arguments:
            assert all(list(ROOT.glob(source)) for source in words[:-1]), arguments


@each_dockerfile
def test_an_image_names_itself_its_version_and_its_commit(dockerfile: Path) -> None:
    for name, content in stages(dockerfile).items():
        if any(instruction == "ENTRYPOINT" for instruction, _ in content):
            [labels] = [arguments for instruction, arguments in content if instruction == "LABEL"]
            for label in ("title", "description", "version", "revision", "licenses"):
                assert f"org.opencontainers.image.{label}=" in labels, name
            assert 'revision="${REVISION}"' in labels


def test_the_two_train_images_differ_in_their_device_alone() -> None:
    cpu, gpu = (stages(ROOT / "deploy" / device / "Dockerfile")["train"] for device in ("cpu", "gpu"))

    def shared(content: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, words) for name, words in content if not OF_ONE_DEVICE.search(words)]

    assert shared(cpu) == shared(gpu)
    assert len(shared(gpu)) > 10
    variables = " ".join(words for name, words in gpu if name == "ENV")
    assert "NVIDIA_VISIBLE_DEVICES=all" in variables
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in variables
    assert not any("NVIDIA" in words for _, words in cpu)
