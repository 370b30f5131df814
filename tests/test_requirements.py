from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FILES = sorted(ROOT.glob("requirements-*.txt"))
# Comes with the interpreter's own virtual environments, or only with a GPU.
NOT_INSTALLED_HERE = {"nvidia-ml-py", "tensorrt", "polygraphy"}
# Asked for by a package that is installed without what it asks for.
LEFT_OUT = {"openvino-telemetry", "onnxoptimizer", "polygraphy"}
# Pins packages of environments that `export.py target=` makes for itself.
OTHER_ENVIRONMENTS = ROOT / "src" / "mlstack" / "export" / "targets" / "separate.py"
# Modules that many packages put a part of under one name, and the package whose part is meant.
SHARED_NAMES = {"google": "protobuf"}


def pins(path: Path) -> dict[str, str]:
    """Requirement lines of a file as name → version; a line that is no exact pin fails the test."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            requirement = Requirement(text)
            [specifier] = requirement.specifier
            assert specifier.operator == "==", f"{path.name}: {text} is no exact pin"
            assert "*" not in specifier.version, f"{path.name}: {text} is no exact pin"
            found[canonicalize_name(requirement.name)] = specifier.version
    return found


DIRECT = {name: version for path in FILES for name, version in pins(path).items()}
LOCKED = pins(ROOT / "constraints.txt")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_requirement_has_a_reason_beside_it(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-")):
            assert re.fullmatch(r"[\w.-]+==[\w.]+ +# \w.*", line), f"{path.name}: {line}"


def test_no_package_is_pinned_twice() -> None:
    names = [name for path in [*FILES, ROOT / "constraints.txt"] for name in pins(path)]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


def test_constraints_lock_every_package_that_the_requirements_pull_in() -> None:
    """Walks the metadata of what is installed here, extras and markers included."""
    waiting = [(name, frozenset[str]()) for name in DIRECT if name not in NOT_INSTALLED_HERE]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen or name in LEFT_OUT:
            continue
        seen.add((name, extras))
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                waiting.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    pulled_in = {name for name, _ in seen} - set(DIRECT)
    missing = sorted(f"{name}=={metadata.version(name)}" for name in pulled_in - set(LOCKED))
    assert not missing, f"add to constraints.txt: {missing}"


def test_what_is_installed_here_is_what_the_files_say() -> None:
    expected = {**LOCKED, **DIRECT}
    # setuptools, which paddle imports, adds the packages that it brings along to sys.path.
    ours = [one for one in metadata.distributions() if "_vendor" not in Path(str(one.locate_file(""))).parts]
    installed = {canonicalize_name(one.name): one.version.partition("+")[0] for one in ours}
    different = {name: version for name, version in installed.items() if expected.get(name, version) != version}
    assert not different, f"run make setup-dev: {different}"


def test_cuda_packages_are_locked_for_linux_alone() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith(("nvidia-", "cuda-", "triton")):
            assert line.endswith(' ; sys_platform == "linux"'), line


def test_messages_about_missing_packages_name_the_pins_of_the_requirements() -> None:
    for path in set((ROOT / "src").rglob("*.py")) - {OTHER_ENVIRONMENTS}:
        for name, version in re.findall(r'"([a-z][\w-]+)==([\d.]+)"', path.read_text(encoding="utf-8")):
            assert DIRECT.get(name) == version, f"{path.name} names {name}=={version}"


def test_every_third_party_import_of_the_package_has_a_requirement() -> None:
    modules = {
        re.split(r"[.\s]", line.split()[1])[0]
        for path in (ROOT / "src").rglob("*.py")
        for line in re.findall(r"^\s*(?:import|from) [\w.]+.*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    providers = metadata.packages_distributions()
    needed = {
        canonicalize_name(name)
        for module in modules
        for name in ([SHARED_NAMES[module]] if module in SHARED_NAMES else providers.get(module, []))
    }
    assert needed - set(DIRECT) - {"mlstack"} == set()
