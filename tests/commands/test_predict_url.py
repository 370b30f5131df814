"""`predict.py url=`: the table and the grid that the bundle itself gives, through the real service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import make_bundle

from mlstack.commands import predict_url
from mlstack.commands.predict import predict
from mlstack.commands.predict_url import GROUP_FILES, ServiceAnswerer, ServiceError
from mlstack.config.commands import PredictConfig
from mlstack.config.predict_limits import check_who_answers
from mlstack.errors import ConfigError, DataError
from mlstack.serving import client as client_file

SCRIPTS = Path(__file__).parents[2] / "scripts"
Serve = Callable[..., str]


@contextmanager
def served(bundle: Path, *settings: str) -> Iterator[str]:
    """The address of a service of its own process."""
    words = [f"bundle={bundle}", "serve.port=0", "serve.access_log=false", *settings]
    command = [sys.executable, str(SCRIPTS / "serve.py"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            told = next(line for line in process.stdout if "http://" in line)
            yield "http://" + told.split("http://")[1].split()[0]
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=20)
    assert process.returncode == 0


def bundle_of(folder: Path, **settings: Any) -> Path:
    make_bundle(folder, **{"size": 8, "channels": 3, **settings})
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """More than one request holds: turned by EXIF, with alpha, grey, wide, high."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    draw = np.random.default_rng(1)
    turned = Image.Exif()
    turned[0x0112] = 6
    for number in range(GROUP_FILES + 2):
        small = draw.integers(0, 256, (6, 9, 3), np.uint8)
        image = Image.fromarray(small).resize((90 - number, 40 + number), Image.Resampling.BICUBIC)
        if number % 3 == 0:
            image.save(folder / f"{number:02}.jpg", exif=turned, quality=95)
        elif number % 3 == 1:
            image.putalpha(Image.linear_gradient("L").resize(image.size))
            image.save(folder / f"{number:02}.png")
        else:
            image.convert("L").save(folder / f"{number:02}.bmp")
    return folder


def ask(output: Path, photographs: Path, **who: Any) -> tuple[str, bytes]:
    """The table and the grid."""
    predict(PredictConfig(input=[str(photographs)], output=str(output), **who))
    return output.read_text(), output.with_suffix(".png").read_bytes()


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_service_answers_as_its_bundle_does(photographs: Path, tmp_path: Path, task: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", task=task)
    with served(bundle) as url:
        for kind in (".csv", ".json"):
            theirs = ask(tmp_path / f"url{kind}", photographs, url=url, top_k=3)
            ours = ask(tmp_path / f"bundle{kind}", photographs, bundle=str(bundle), top_k=3)
            assert numbers_aside(theirs[0]) == numbers_aside(ours[0])
            assert numbers_of(theirs[0]) == pytest.approx(numbers_of(ours[0]), abs=1e-5)
            assert theirs[1] == ours[1]


def numbers_of(text: str) -> list[float]:
    return [float(word) for word in words_of(text) if is_number(word)]


def numbers_aside(text: str) -> list[str]:
    return [word for word in words_of(text) if not is_number(word)]


def words_of(text: str) -> list[str]:
    return text.replace(",", " ").replace('"', " ").split()


def is_number(word: str) -> bool:
    return word.replace(".", "", 1).replace("-", "").replace("e", "").isdigit()


def test_a_key_comes_from_the_environment_and_mistakes_are_one_line(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.txt"
    make = [sys.executable, str(SCRIPTS / "make_api_key.py"), "name=ann", f"file={keys}"]
    key = next(word for word in subprocess.check_output(make, text=True).split() if len(word) >= 30)
    with served(bundle_of(tmp_path / "bundle"), f"serve.api_keys_file={keys}") as url:
        monkeypatch.delenv("MLSTACK_API_KEY", raising=False)
        with pytest.raises(ServiceError, match="401") as caught:
            ask(tmp_path / "table.csv", photographs, url=url)
        assert "MLSTACK_API_KEY" in str(caught.value)
        monkeypatch.setenv("MLSTACK_API_KEY", key)
        assert ask(tmp_path / "table.csv", photographs, url=url)
        (photographs / "broken.png").write_bytes(b"no picture")
        with pytest.raises(DataError, match="1 of 19 pictures can't be read"):
            ask(tmp_path / "more" / "table.csv", photographs, url=url)
    assert not (tmp_path / "more").exists()


def test_a_service_that_is_not_there_ends_with_status_2(photographs: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = [f"url=http://127.0.0.1:{port}", f"input={photographs}", f"output={tmp_path / 'table.csv'}"]
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "predict.py"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", [[], {"name": "x"}, {"name": "x", "task": "y", "classes": [], "input": {}}])
def test_another_kind_of_service_is_recognised(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_file.Client, "metadata", lambda _: json.loads(json.dumps(answer)))
    with pytest.raises(ServiceError, match="not a service of this project"):
        ServiceAnswerer("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "other", [{"bundle": "latest"}, {"run": "outputs/a"}, {"checkpoint": "last"}, {"accelerator": "cuda"}]
)
def test_only_one_answers(other: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="contradict"):
        check_who_answers(PredictConfig(input=["a.jpg"], url="http://127.0.0.1:9", **other))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no address"):
        check_who_answers(PredictConfig(input=["a.jpg"], url="photos"))


def test_files_go_in_groups_of_so_many_and_of_so_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes(*counts: int) -> list[list[int]]:
        paths = [tmp_path / str(number) for number in range(len(counts))]
        for path, count in zip(paths, counts, strict=True):
            path.write_bytes(bytes(count))
        return [[path.stat().st_size for path in group] for group in predict_url._groups(paths)]

    monkeypatch.setattr(predict_url, "GROUP_FILES", 3)
    monkeypatch.setattr(predict_url, "GROUP_BYTES", 100)
    assert sizes() == []
    assert sizes(1, 1, 1, 1) == [[1, 1, 1], [1]]
    assert sizes(50, 50, 1) == [[50, 50], [1]]
    assert sizes(50, 51) == [[50], [51]]
    assert sizes(500, 1, 500) == [[500], [1], [500]]
    assert sizes(40, 40, 40, 40, 20, 1) == [[40, 40], [40, 40, 20], [1]]
