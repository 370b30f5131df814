"""Every command that README.md shows is run, with settings appended that keep it short.

The Chinese twin has the same blocks, which tests/test_layout.py checks. test_serving.py runs those about a service.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlstack.config import sweep
from mlstack.config.trainer import ENGINES

from .conftest import Run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Not run here, but by:
ELSEWHERE = {
    "make train": ".ci/run, stage 'first training'",
    "make test": ".ci/run, stage 'suite'",
    "source .venv/bin/activate": "whoever opens a terminal",
    "make validate-venv": "tests/validation/test_venv.py, as a dry run",
    "make validate-docker": "tests/containers/test_validate_docker.py",
    "python scripts/compare_performance.py": "tests/commands/test_compare_performance.py, with reports",
    "make up": "tests/containers/test_compose.py, with the same file",
    "deploy/rolling_update.sh BUNDLE=outputs/latest/bundle": "tests/containers/test_rolling_update.py",
}
# Commands with such a word need that engine; docs/engines.md says how to delete one.
ENGINE_OF = {"paddle": "paddle", "timm": "lightning"}
# What makes a command short: of a training, one batch of each split; of an export, few pictures to judge it by.
SHORT = {
    "train.py": ["trainer.fast_dev_run=true", "trainer.progress_bar=false", "data.batch_size=16"],
    "benchmark.py": ["seconds=0.02"],
    "export.py": ["quantize.max_drop=100", "quantize.images=16", "parity_images=32"],  # `here` has hardly been trained
    "optimize_for_edge.py": ["quantize.max_drop=100", "quantize.images=16", "max_images=32"],
}
# What a machine without a network, or without a GPU, cannot do ends in one message and this status.
REFUSED = 2
# With their figures; the others draw none.
DRAWN = ("python scripts/train.py data=digits", "python scripts/eval.py run=latest split=test")
SERVE = "scripts/serve.py"  # does not end by itself


def commands() -> list[str]:
    """Each line of each bash block, without its comment."""
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    own = [block for block in blocks if SERVE not in block]
    return [re.sub(r"\s+#.*$", "", line) for block in own for line in block.splitlines() if line.strip()]


def is_possible(command: str) -> bool:
    if "convert.py" in command and len(ENGINES) == 1:
        return False
    return all(engine in ENGINES for word, engine in ENGINE_OF.items() if word in command)


def is_refused(command: str) -> bool:
    return "accelerator=gpu" in command or "data=cifar10" in command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where photos/ lies; the commands are typed in folders of it."""
    folder = tmp_path_factory.mktemp("readme")
    draw = np.random.default_rng(0)
    for label, kind in enumerate(("cat", "dog")):
        for number in range(10):
            path = folder / "photos" / kind / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(100 * label, 100 * label + 90, (40, 48, 3), np.uint8)).save(path)
    names = sorted(path.relative_to(folder / "photos").as_posix() for path in folder.glob("photos/*/*.jpg"))
    rows = [f"{name},{price}" for price, name in enumerate(names)]
    (folder / "photos" / "prices.csv").write_text("\n".join(["file,price", *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def here(command: str, folder: Path, run_script: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with photos/ and a finished run for `run=latest`.

    The run is of a small network, or of the one that a command starts from: `init_from` needs the same.
    """
    model = "resnet18" if "init_from=latest" in command else "small_cnn"
    here = folder / model
    if not here.exists():
        here.mkdir()
        (here / "photos").symlink_to(folder / "photos")
    monkeypatch.chdir(here)
    if not (here / "outputs" / "latest").exists():
        words = ["train.py", "data=digits", f"model={model}", "tracker=none", "trainer.max_epochs=1"]
        answer = run_script([*words, "trainer.limit_train_batches=3", "trainer.progress_bar=false"])
        assert answer.status == 0, answer.err
    return here


def test_what_is_not_run_here_still_stands_in_the_readme() -> None:
    assert set(ELSEWHERE) <= set(commands())


@pytest.mark.framework
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.figures if command in DRAWN else ())
        for command in commands()
        if command not in ELSEWHERE and is_possible(command)
    ],
)
@pytest.mark.usefixtures("here")
def test_a_command_of_the_readme_does_what_it_says(
    command: str, run_script: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *words = shlex.split(command)
    assert program == "python"
    shortens = not {"--help", "--cfg", "resume=latest"} & set(words)
    # The jobs of -m are processes of their own; here they share this one, which has imported torch already.
    monkeypatch.setattr(sweep, "_run_job", lambda job, *_: run_script(job[1:]).status)
    answer = run_script([*words, *(SHORT.get(Path(words[0]).name, []) if shortens else [])])
    if is_refused(command):
        assert answer.status == REFUSED
        assert answer.err.startswith("error: ")
        assert len(answer.err.splitlines()) <= 8
    else:
        assert answer.status == 0, answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z0-9-]+)", README))))
def test_a_make_target_of_the_readme_is_there(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.py", "trainer.max_epoch=3"], "there is no key trainer.max_epoch"),
        (["train.py", "data=cifar"], "data=cifar is not a choice of the group data"),
        (
            ["train.py", "trainer.precision=16", "trainer.accelerator=cpu"],
            "trainer.precision=16 does not work on trainer.accelerator=cpu",
        ),
    ],
)
def test_a_message_that_the_readme_explains_is_a_real_one(words: list[str], message: str, run_script: Run) -> None:
    answer = run_script(words)
    assert answer.status == REFUSED
    assert answer.err.startswith(f"error: {message}\n")
    assert f"| `{message}` |" in README


def test_the_version_table_shows_the_pins() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements-cpu.txt").read_text(), re.MULTILINE))
    shown = {"torch": "torch", "PyTorch Lightning": "pytorch-lightning", "PaddlePaddle": "paddlepaddle"}
    for title, package in shown.items():
        assert package not in pins or re.search(
            rf"^\| {title} \| [^|]+ \| {re.escape(pins[package])} \|", README, re.MULTILINE
        ), title
