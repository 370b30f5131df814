from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from oracles import sections
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Environments of their own, whose versions may contradict those of .venv and of one another.
ORACLES = ROOT / "requirements-oracles.txt"
EVERY_FILE = sorted(ROOT.glob("requirements-*.txt"))
FILES = [path for path in EVERY_FILE if path != ORACLES]
# Code that compares with oracles, and that tests are made of.
COMPARING = sorted({*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests").rglob("*.py")} - {Path(__file__)})
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


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: path.name)
def test_each_requirement_has_a_reason_beside_it(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-")):
            assert re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+ +# \w.*", line), f"{path.name}: {line}"


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


def test_an_environment_of_oracles_says_who_compares_and_pins_each_package_once() -> None:
    said = dict(re.findall(r"^# environment: (\S+).*\n# (.+)", ORACLES.read_text(encoding="utf-8"), re.MULTILINE))
    assert said.keys() == sections().keys()
    for name, section in sections().items():
        [path] = re.findall(r"(?:benchmarks|tests)/[\w/]+\.py", said[name])
        assert (ROOT / path).is_file()
        packages = [Requirement(pin).name for pin in section.pins]
        assert packages and len(packages) == len(set(packages)), name
    assert sum(len(section.pins) for section in sections().values()) == ORACLES.read_text().count("==")
    assert pins(ORACLES)  # which are exact


def test_each_environment_of_oracles_is_asked_for() -> None:
    asking = [text for path in COMPARING if "from oracles import" in (text := path.read_text(encoding="utf-8"))]
    for name in sections():
        assert any(f'"{name}"' in text for text in asking), name


def test_no_pin_of_an_oracle_stands_in_code() -> None:
    names = "|".join(re.escape(name) for name in pins(ORACLES))
    for path in set(COMPARING) - {ROOT / "tests" / "commands" / "test_check_env.py"}:  # made-up requirements
        assert not re.search(rf"\b({names})(\[\w+\])?==\d", path.read_text(encoding="utf-8")), path


def test_ci_picks_no_pin_of_an_oracle_when_it_picks_packages_by_name_from_all_files() -> None:
    patterns = re.findall(r"grep -hoE '(.+?)' requirements-\*\.txt", (ROOT / ".ci" / "run").read_text())
    assert len(patterns) == 2
    for pattern in patterns:
        assert not re.search(pattern, ORACLES.read_text(encoding="utf-8"), re.MULTILINE), pattern


def test_no_test_is_left_out_for_want_of_a_package() -> None:
    """What requirements-dev.txt installs is there; what it does not is an oracle, and made at first use."""
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            assert "importorskip" not in path.read_text(encoding="utf-8"), path
