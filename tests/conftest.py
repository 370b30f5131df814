"""What several rooms' tests share: small settings, and one trained run that many tests look at."""

from __future__ import annotations

import copy
import gc
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from mlstack.config import Config, DataConfig, ModelConfig, TrainerConfig
from mlstack.config.trainer import ENGINES
from mlstack.runs import RunFolder

# A model and a data set that live outside the package, as a user's own would.
OWN_CODE = Path(__file__).parent / "own_code"
sys.path.append(str(OWN_CODE))

Configure = Callable[..., Config]

# Files that take longest, in this order: begun last, one of them would keep one core waiting for the other.
FIRST = (
    "documents/test_readme.py",
    "engines/test_distributed.py",
    "commands/test_export.py",
    "engines/test_stops.py",
    "documents/test_serving.py",
    "validation/test_venv.py",
    "end_to_end/test_two_bundles.py",
    "commands/test_convert.py",
    "end_to_end/test_page.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="only the long repetitions, which are left out otherwise")
    parser.addoption(
        "--changed", nargs="?", const="HEAD", metavar="REVISION",
        help="only tests that what differs from the revision (HEAD) can touch: see tests/own_code/touched.py",
    )  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str) -> None:
    """Name the test that took its process along at once: a suite that is cut off later never prints its summary."""
    print(f"\nthe process died while running {crashitem}", file=sys.stderr, flush=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose between long tests and others, and let long files come first: `make test` has xdist keep that order."""
    long = config.getoption("--long")
    chosen = [item for item in items if (item.get_closest_marker("long") is not None) == long]
    if (revision := config.getoption("--changed")) is not None:
        from touched import touched_tests

        touched = touched_tests(revision)
        chosen = [item for item in chosen if item.path in touched]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    places = {OWN_CODE.parent / name: place for place, name in enumerate(FIRST)}
    items[:] = sorted(chosen, key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make exports quick, and never look for garbage among what frameworks hold: each time takes most of a second."""
    if any(item.get_closest_marker("framework") for item in session.items):
        from quick_exports import quick_exports

        quick_exports()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def network(engine: str, name: str = "tiny") -> str:
    """`model.target` of a small network, written for the engine's framework."""
    return f"tiny_networks_{engine}:{name}"


def configuration(output_dir: Path, engine: str, **overrides: Any) -> Config:
    """Settings of a run that takes a fraction of a second; `overrides` are keys with `__` for the dot."""
    config = Config(
        model=ModelConfig(name="tiny", target=network(engine), learning_rate=0.01),
        data=DataConfig(name="few_digits", target="few_digits:load", batch_size=16),
        trainer=TrainerConfig(engine=engine, accelerator="cpu", max_epochs=2, progress_bar=False),
        tracker="none",
        output_dir=str(output_dir),
    )
    for key, value in overrides.items():
        *groups, name = key.split("__")
        owner: Any = config
        for group in groups:
            owner = getattr(owner, group)
        assert hasattr(owner, name), key
        setattr(owner, name, value)
    return config


@pytest.fixture(autouse=True)
def _own_code_is_forgotten(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that a test wrote must not answer for one of the same name in another test."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = len(sys.modules), next(reversed(sys.modules))
    yield
    if (len(sys.modules), next(reversed(sys.modules))) == before:  # thousands of tests import nothing
        return
    written_by_tests = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(written_by_tests):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _figures_are_drawn_where_they_matter(request: pytest.FixtureRequest) -> Iterator[None]:
    """In tests with a framework that are marked `figures`, and in those of `reports/`."""
    from without_figures import without_figures

    marked = request.node.get_closest_marker
    with without_figures() if marked("framework") and not marked("figures") else nullcontext():
        yield


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each training framework that is there, by the name of its engine."""
    return str(request.param)


@pytest.fixture
def configure(tmp_path: Path, engine: str) -> Configure:
    """`configure(trainer__max_epochs=3)`: the settings of a small run whose folder lies in `tmp_path`."""
    return lambda **overrides: configuration(tmp_path / "outputs", engine, **overrides)


@pytest.fixture(scope="session")
def python(engine: str) -> Iterator[str]:
    """An executable like `python` that has imported the engine's framework, and draws no figures: `warm_python.py`."""
    from warm_python import warm_python

    modules = ("mlstack.commands.train", "mlstack.config.compose", "matplotlib.backends.backend_agg", "undrawn")
    with warm_python([f"mlstack.engines.{engine}.engine", *modules]) as path:
        yield path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def made_once() -> dict[tuple[str, ...], Any]:
    """What lasts for the session though it depends on the engine: pytest makes such a fixture anew in every file."""
    return {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, engine: str, made_once: dict[tuple[str, ...], Any]) -> RunFolder:
    """A finished run on all the digits, made once by the `train` command, without figures.

    Look, don't touch: `shutil.copytree` it.
    """
    if ("trained", engine) not in made_once:
        made_once["trained", engine] = _train_on_digits(tmp_path_factory.mktemp("trained") / "outputs", engine)
    run: RunFolder = made_once["trained", engine]
    return run


def _train_on_digits(outputs: Path, engine: str) -> RunFolder:
    from without_figures import without_figures

    from mlstack.commands.train import train
    from mlstack.runs import find_run

    config = configuration(
        outputs,
        engine,
        data__name="digits",
        data__target=None,
        data__batch_size=32,
        model__args={"width": 16},
        trainer__max_epochs=4,
        trainer__log_every_n_steps=10,
        trainer__progress_bar=True,
        tracker="tensorboard",
    )
    with without_figures():
        train(copy.deepcopy(config))
    return find_run("latest", output_dir=outputs)
