from __future__ import annotations

import shutil
import subprocess
import threading
import time
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracles
import pytest
from oracles import OracleError, Section, environment, prepare, sections

TEXT = """# What the file is for.

# environment: greeter
# A test compares with it.
greeter[loud]==1.0  # greets
polite==2.0         # a reason

# environment: bare --no-deps --pre
# Nothing but Python.
"""
Make = Callable[..., Path]


def greeter(folder: Path) -> None:
    """A wheel with a program `greet`."""
    about = "greeter-1.0.dist-info"
    with zipfile.ZipFile(folder / "greeter-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("greeter.py", "def main(): print('hello from', __file__)\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/entry_points.txt", "[console_scripts]\ngreet = greeter:main\n")
        archive.writestr(f"{about}/RECORD", "")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment `tiny` is going to lie; pip finds what lies in tmp_path and nothing else."""
    monkeypatch.setenv("ORACLES_FOLDER", str(tmp_path / "environments"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path / "environments" / "tiny"


@pytest.fixture
def make(home: Path, tmp_path: Path) -> Make:
    """`make(line, …, options="")`: the environment `tiny` of a file that has these lines."""

    def made(*lines: str, options: str = "") -> Path:
        path = tmp_path / "requirements.txt"
        path.write_text("\n".join([f"# environment: tiny{options}", *lines, ""]))
        return environment("tiny", requirements=path)

    return made


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The pins that pip would have been asked for."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(oracles, "_install", lambda _, section, __: asked.append(section.pins))
    return asked


def test_a_section_is_a_name_with_options_and_pins(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(TEXT)
    assert sections(path) == {
        "greeter": Section((), ("greeter[loud]==1.0", "polite==2.0")),
        "bare": Section(("--no-deps", "--pre"), ()),
    }


def test_programs_of_an_installed_package_run_in_its_environment(home: Path, make: Make, tmp_path: Path) -> None:
    greeter(tmp_path)
    assert make("greeter==1.0  # greets") == home
    said = subprocess.run([home / "bin" / "greet"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"hello from {home}/")


@pytest.mark.usefixtures("home")
def test_packages_that_cannot_be_had_end_in_pips_reason_and_no_environment(make: Make, home: Path) -> None:
    with pytest.raises(
        OracleError, match=r"environment tiny can't be installed: No matching .* nothing==1\.0\npip needs"
    ):
        make("nothing==1.0  # is nowhere")
    assert not (home / oracles.MARK).exists()


def test_it_is_made_once_and_anew_for_another_pin_or_option(make: Make, installed: list[tuple[str, ...]]) -> None:
    make("one==1.0  # a reason")
    make("one==1.0  # a better reason")
    assert installed == [("one==1.0",)]
    make("one==1.1  # a better reason")
    assert installed[1:] == [("one==1.1",)]
    make("one==1.1", options=" --pre")
    assert installed[2:] == [("one==1.1",)]


@pytest.mark.parametrize(
    ("module", "step", "pin"),
    [(venv, "create", "one==1.0"), (oracles, "_install", "one==1.1")],
    ids=["clearing the old one", "installing"],
)
def test_what_an_interruption_leaves_is_not_taken_for_whole(
    make: Make, home: Path, monkeypatch: pytest.MonkeyPatch, installed: list[Any], module: Any, step: str, pin: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        (home / "half").touch()
        raise KeyboardInterrupt

    make("one==1.0")
    with monkeypatch.context() as patched:
        patched.setattr(module, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            make("one==1.1")
    assert (home / "half").exists()
    make(pin)
    assert installed == [("one==1.0",), (pin,)]
    assert not (home / "half").exists()


def test_of_two_at_once_one_makes_it_and_the_other_waits(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    makes: list[float] = []
    create = venv.create

    def slowly(*args: Any, **settings: Any) -> None:
        makes.append(time.monotonic())
        time.sleep(0.1)
        create(*args, **settings)

    monkeypatch.setattr(venv, "create", slowly)
    make_both = [threading.Thread(target=make) for _ in range(2)]
    for thread in make_both:
        thread.start()
    for thread in make_both:
        thread.join()
    assert len(makes) == 1


def test_an_environment_whose_interpreter_is_gone_is_made_anew(make: Make, home: Path, tmp_path: Path) -> None:
    make()
    (home / "bin" / "python").unlink()
    (home / "bin" / "python").symlink_to(tmp_path / "removed")
    assert (make() / "bin" / "python").exists()


def test_a_name_that_is_not_there_and_a_folder_that_cannot_be_written_are_one_message(
    make: Make, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare("no-such-peer")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: requirements-oracles.txt has no environment no-such-peer\nallowed:"
    )
    shutil.rmtree(home.parent, ignore_errors=True)
    home.parent.touch()
    with pytest.raises(OracleError, match=r"tiny can't be written: .*\n.*ORACLES_FOLDER="):
        make()
