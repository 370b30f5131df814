from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlstack.config import Config
from mlstack.config.commands import PredictConfig
from mlstack.config.help import WIDTH

from .mistakes import MISTAKES

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ("torch", "lightning", "pytorch_lightning", "paddle", "numpy", "torchvision", "PIL")
Command = Callable[..., tuple[int, str, str]]

LIST_MODULES = """
import os, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("MODULES", *sorted(name for name in sys.modules if "." not in name))
"""


def in_a_fresh_process(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


ALL_MISTAKES = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from mlstack.config import Config
from mlstack.config.command_line import run

answers = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["train.py", *words]
    status, out, err = None, io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            run("mlstack.no_such_module:task", Config)
        except SystemExit as end:
            status = end.code
    answers.append((status, out.getvalue(), err.getvalue()))
print(json.dumps({"answers": answers, "modules": list(sys.modules)}))
"""


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Status, stdout and stderr of each mistake, typed in a process of its own; what modules and files came of it."""
    script, empty = tmp_path_factory.mktemp("script") / "all_mistakes.py", tmp_path_factory.mktemp("empty")
    script.write_text(ALL_MISTAKES)
    done = in_a_fresh_process([str(script), json.dumps([words for words, _ in MISTAKES])], empty)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "files": [path.name for path in empty.iterdir()]}


@pytest.mark.parametrize(
    ("number", "named"),
    [pytest.param(number, named, id=" ".join(words)) for number, (words, named) in enumerate(MISTAKES)],
)
def test_a_mistake_ends_with_one_message_that_names_what_to_type(
    number: int, named: list[str], mistaken: dict[str, Any]
) -> None:
    status, out, err = mistaken["answers"][number]
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 8
    assert "Traceback" not in err
    assert not [part for part in named if part not in err], err


def test_no_mistake_costs_a_framework_or_writes_a_file(mistaken: dict[str, Any]) -> None:
    assert not set(FRAMEWORKS) & set(mistaken["modules"])
    assert mistaken["files"] == []


SCRIPTS = ["train", "eval", "predict", "convert", "download", "check_env", "validate", "compare_performance"]
ABOUT_BUNDLES = ["export", "verify_bundle", "benchmark", "optimize_for_edge", "make_api_key"]


@pytest.mark.parametrize("script", [*SCRIPTS, *ABOUT_BUNDLES])
def test_help_of_every_script_needs_neither_hydra_nor_a_framework(script: str, tmp_path: Path) -> None:
    done = in_a_fresh_process(["-c", LIST_MODULES, str(ROOT / "scripts" / f"{script}.py"), "--help"], tmp_path)
    text, _, modules = done.stdout.partition("MODULES")
    assert done.returncode == 0, done.stderr
    assert not {*FRAMEWORKS, "hydra", "omegaconf"} & set(modules.split())
    assert f"python scripts/{script}.py" in text
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert not list(tmp_path.iterdir())


def test_cfg_job_prints_the_config_without_a_framework(tmp_path: Path) -> None:
    words = [str(ROOT / "scripts" / "train.py"), "--cfg", "job", "trainer.precision=16"]
    done = in_a_fresh_process(["-c", LIST_MODULES, *words], tmp_path)
    text, _, modules = done.stdout.partition("MODULES")
    assert done.returncode == 0, done.stderr
    assert not set(FRAMEWORKS) & set(modules.split())
    assert "precision: '16'" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["照片", "img(1) a=b", "~/x", "/a b/c,d"])
def test_a_path_arrives_through_a_real_command_line(path: str, own_folder: Path, tmp_path: Path) -> None:
    (own_folder / "show.py").write_text("def show(config): print(ascii((config.data.path, config.output_dir)))\n")
    script = tmp_path / "start.py"
    imports = "from mlstack.config import Config\nfrom mlstack.config.command_line import run\n"
    script.write_text(f"{imports}run('show:show', Config)\n")
    done = in_a_fresh_process(
        [str(script), "-cd", str(own_folder), f"data.path={path}", f"output_dir={path}"], tmp_path
    )
    expected = str(Path(path).expanduser()) if path.startswith("~/") else path
    assert done.stdout.strip() == ascii((expected, expected)), done.stderr


def received_by_probe() -> list[Any]:
    return list(sys.modules["probe"].received)


@pytest.fixture
def probe(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "probe", raising=False)
    return own_folder


def test_the_task_gets_the_dataclass_and_the_command_line_stays_as_typed(command: Command, probe: Path) -> None:
    words = ["--config-dir", str(probe), "seed=3", "model=resnet34"]
    status, _, err = command(*words, task="probe:keep")
    assert (status, err) == (0, "")
    (config,) = received_by_probe()
    assert isinstance(config, Config)
    assert (config.seed, config.model.name) == (3, "resnet34")
    assert sys.argv == ["train.py", *words]


def test_a_users_folder_is_importable_here_and_in_child_processes(command: Command, probe: Path) -> None:
    assert command("--config-dir", str(probe), task="probe:keep")[0] == 0
    done = subprocess.run([sys.executable, "-c", "import probe"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_ends_with_one_line_and_130(command: Command, own_folder: Path) -> None:
    (own_folder / "stopped.py").write_text("def task(config): raise KeyboardInterrupt\n")
    assert command("-cd", str(own_folder), task="stopped:task") == (130, "", "interrupted\n")


def test_a_mistake_found_by_the_task_ends_like_one_in_the_config(command: Command, own_folder: Path) -> None:
    (own_folder / "refuses.py").write_text(
        "from mlstack.errors import DataError\n"
        "def task(config): raise DataError('no pictures in photos/', hint='put some there')\n"
    )
    status, _, err = command("-cd", str(own_folder), task="refuses:task")
    assert (status, err) == (2, "error: no pictures in photos/\nput some there\n")


def test_cfg_shows_a_package_and_resolves_on_request(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOS", "/photos")
    words = ["--cfg", "job", "data.path=${oc.env:PHOTOS}/a b", "-p", "data"]
    _, plain, _ = command(*words)
    assert plain.startswith("# @package data\nname: cifar10\n")
    assert "path: ${oc.env:PHOTOS}/a b" in plain
    assert "path: /photos/a b" in command(*words, "--resolve")[1]


def test_version_is_printed(command: Command) -> None:
    assert command("--version")[1].startswith("mlstack ")


def test_help_shows_a_users_own_choices(command: Command, own_folder: Path) -> None:
    (own_folder / "model" / "my_net.yaml").write_text("name: my_net\n")
    assert "my_net" in command("-h", "-cd", str(own_folder))[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ["input", "photos/"]),
        (["input=[]"], ["input=[]"]),
        (["input=a.jpg", "output=table.xlsx"], ["table.xlsx", ".csv", ".json"]),
        (["input=a.jpg", "grid=picture.gif"], ["picture.gif", ".png"]),
        (["input=a.jpg", "top_k=0"], ["top_k=0", "≥ 1"]),
        (["input=a.jpg", "model=resnet18"], ["no key model"]),
        (["input=a.jpg", "bundle=latest", "run=outputs/a/b"], ["run=outputs/a/b", "bundle=latest", "drop run="]),
        (["input=a.jpg", "bundle=latest", "checkpoint=last"], ["checkpoint=last", "bundle=latest", "export.py"]),
        (["input=a.mp4", "every=0"], ["every=0", "≥ 1", "frames"]),
    ],
)
def test_predictions_refuse_what_cannot_work(command: Command, words: list[str], named: list[str]) -> None:
    status, _, err = command(*words, schema=PredictConfig, config_name="predict")
    assert status == 2
    assert not [part for part in named if part not in err], err


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("model/mine.yaml", "name: x\nlr: 3\n", ["model.lr", "model/mine.yaml", "model.learning_rate"]),
        ("model/mine.yaml", "learning_rate: ten\n", ["model.learning_rate=ten", "model/mine.yaml", "number"]),
        ("model/mine.yaml", "learning_rate: 0\n", ["model.learning_rate=0", "> 0"]),
        ("model/mine.yaml", "name: [x\nlearning_rate: 1\n", ["mine.yaml, line 2"]),
        ("model/mine.yaml", "- a\n", ["model/mine.yaml"]),
        ("recipe/mine.yaml", "seed: 3\n", ["recipe/mine.yaml", "# @package _global_"]),
        ("recipe/mine.yaml", "# @package _global_\nsed: 3\n", ["recipe/mine.yaml", "seed"]),
        ("recipe/mine.yaml", "# @package _global_\ndefaults:\n  - override /model: nope\n", ["model=nope", "resnet18"]),
        ("recipe/mine.yaml", "# @package _global_\ndefaults:\n  - override /net: a\n", ["recipe/mine.yaml", "net"]),
    ],
)
def test_a_mistake_in_a_users_file_names_the_file(
    command: Command, own_folder: Path, file: str, text: str, named: list[str]
) -> None:
    (own_folder / file).write_text(text)
    status, _, err = command("-cd", str(own_folder), f"{file.split('/')[0]}=mine")
    assert status == 2
    assert len(err.splitlines()) <= 8
    assert not [part for part in named if part not in err], err
