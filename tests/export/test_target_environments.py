"""Environments of their own for packages that conflict, and programs that run in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole_bundle import pictures, write_whole_bundle

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.config import Config
from mlstack.config.export import ExportConfig
from mlstack.errors import ExportError
from mlstack.export.targets import convert, separate
from mlstack.export.targets.convert import TARGETS
from mlstack.export.targets.environment import environment
from mlstack.runs import RunFolder


def wheel(folder: Path, *, version: str) -> str:
    """A package named tqdm, as the main environment has one too."""
    path, about = folder / f"tqdm-{version}-py3-none-any.whl", f"tqdm-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tqdm/__init__.py", f"__version__ = {version!r}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tqdm\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with a tqdm of its own. Look, don't touch."""
    folder = tmp_path_factory.mktemp("made")
    return environment("tiny", [wheel(folder, version="0.1")], megabytes=1, folder=folder / "environments")


def test_its_own_packages_come_first_and_the_main_ones_after_them(made: Path) -> None:
    program = "import tqdm, numpy; print(tqdm.__version__, numpy.__file__)"
    answer = subprocess.run([made, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["0.1", np.__file__]


def test_it_is_made_once_and_again_for_other_pins(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made.parents[1], tmp_path / "environments" / "tiny", symlinks=True)
    (tmp_path / "environments" / "tiny" / "mark").touch()

    def make(pin: str) -> Path:
        return environment("tiny", [pin], megabytes=1, folder=tmp_path / "environments").parents[1]

    assert (make(str(made.parents[3] / "tqdm-0.1-py3-none-any.whl")) / "mark").exists()
    assert capsys.readouterr().out == ""
    assert not (make(wheel(tmp_path, version="0.2")) / "mark").exists()
    assert "about 1 MB" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "environments").iterdir()] == ["tiny"]


def test_packages_that_cannot_be_had_leave_pips_reason_and_no_environment(tmp_path: Path) -> None:
    missing = tmp_path / "nothing-1.0-py3-none-any.whl"
    with pytest.raises(ExportError, match=r"the packages of target=tiny can't be installed: .*nothing-1\.0"):
        environment("tiny", [str(missing)], megabytes=1, folder=tmp_path / "environments")
    assert list((tmp_path / "environments").iterdir()) == []


def test_every_target_with_an_environment_pins_all_of_its_packages() -> None:
    pinned = [target for target in TARGETS.values() if isinstance(target, separate.Separate)]
    assert {target.name for target in pinned} == {"coreml", "executorch", "litert"}
    for target in pinned:
        assert all(pin.count("==") == 1 for pin in target.pins), target.name


# A converter for a made-up target: it "converts" by copying, and answers from a file that lies beside it.
PROGRAM = """
import json, pathlib, sys
import numpy as np
folder = pathlib.Path(sys.argv[3])
(folder / "model.tiny").write_bytes(pathlib.Path(sys.argv[1]).read_bytes())
pictures = np.load(sys.argv[2])
answers = dict(np.load(pathlib.Path(__file__).with_name("answers.npz")))
assert len(pictures) == len(answers["outputs"])
np.savez(folder / "answers.npz", **answers)
(folder / "report.json").write_text(json.dumps({"versions": {"tiny": "1"}, "milliseconds": 0.5, **EXTRA}))
"""
TINY = separate.Separate(
    name="tiny", file="model.tiny", pins=(), megabytes=0, how="its own runtime", unchecked=("telephones",)
)


class OneProgram:
    """An engine's `network_files` with the converter of one made-up target."""

    def __init__(self, folder: Path) -> None:
        self.PROGRAMS = folder

    def network_of(self, *_: Any, **__: Any) -> OneProgram:
        return self

    def write_program(self, path: Path, **_: Any) -> None:
        path.write_bytes(b"network")


Attempt = Callable[..., list[str]]


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """`attempt(program, change=…, **of_target)`: convert a bundle by a program whose answers are `change`d."""
    bundle: Bundle = read_bundle(write_whole_bundle(tmp_path / "bundle"))
    images = pictures(20, seed=4)
    run = RunFolder(tmp_path)
    run.write_config(Config())
    monkeypatch.setattr(separate, "environment", lambda *_, **__: Path(sys.executable))
    monkeypatch.setattr(separate, "check_network_files", lambda *_, **__: None)
    monkeypatch.setattr(separate, "network_files", lambda *_, **__: OneProgram(tmp_path))

    def convert_by(program: str, *, change: float = 0.0, **of_target: Any) -> list[str]:
        from mlstack.bundle.reference import read_reference
        from mlstack.bundle.session import Session

        golden = read_reference(bundle.path / "reference.npz", bundle.metadata).golden_images
        answers = Session(bundle.model()).run(np.concatenate([golden, images]))
        np.savez(tmp_path / "answers.npz", outputs=answers.output + change, features=answers.features)
        (tmp_path / "to_tiny.py").write_text(program, encoding="utf-8")
        monkeypatch.setitem(TARGETS, "tiny", replace(TINY, **of_target))
        return convert("tiny", bundle=bundle, run=run, images=images, config=ExportConfig())

    return convert_by


def test_a_file_from_another_environment_is_compared_and_nothing_but_it_is_kept(
    attempt: Attempt, tmp_path: Path
) -> None:
    lines = attempt(PROGRAM.replace("**EXTRA", ""))
    assert any("on 28 pictures against the bundle, its own runtime" in line for line in lines)
    assert "not checked  telephones" in lines
    assert {path.name for path in (tmp_path / "targets" / "tiny").iterdir()} == {"model.tiny", "facts.json"}


def test_answers_from_another_environment_that_differ_leave_nothing(attempt: Attempt, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"model\.tiny does not answer like the bundle"):
        attempt(PROGRAM.replace("**EXTRA", ""), change=0.01)
    assert list((tmp_path / "targets").iterdir()) == []


def test_a_converter_that_fails_is_quoted_in_one_line(attempt: Attempt) -> None:
    with pytest.raises(ExportError, match=r"^to tiny failed: ValueError: no such layer$"):
        attempt("raise ValueError('no such layer')")


def test_a_file_that_cannot_run_here_has_to_take_and_answer_what_the_bundle_does(attempt: Attempt) -> None:
    ends = {"input": {"images": [1, 8, 8, 1]}, "output": {"output": [1, 3], "features": [1, 4]}}
    lines = attempt(PROGRAM.replace("EXTRA", repr(ends)), how="")
    assert any(line.startswith("checked      takes {'images': [1, 8, 8, 1]}") for line in lines)
    ends["output"] = {"output": [1, 4], "features": [1, 4]}
    with pytest.raises(ExportError, match=r"the file takes .*, not "):
        attempt(PROGRAM.replace("EXTRA", repr(ends)), how="")
