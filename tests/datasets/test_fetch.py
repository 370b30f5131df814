from __future__ import annotations

import io
import shutil
import socket
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlstack.commands.download import download
from mlstack.config import DataConfig
from mlstack.config.commands import DownloadConfig
from mlstack.datasets import cifar, load_dataset
from mlstack.datasets.archives import unpack
from mlstack.datasets.fetch import RemoteFile, fetch
from mlstack.errors import ConfigError, DataError, DownloadError, OutputError

ARCHIVE = "cifar-10-binary.tar.gz"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_mirror_delivers_and_the_set_loads(published: Callable[[], Any]) -> None:
    server = published()
    dataset = load_dataset(DataConfig(name="cifar10", mirrors=[f"{server.url}/good"]))
    assert {part: len(split) for part, split in dataset.splits.items()} == {"train": 230, "val": 20, "test": 50}
    assert Path("data/cifar10/cifar-10-batches-bin/test_batch.bin").is_file()
    load_dataset(DataConfig(name="cifar10", mirrors=["http://127.0.0.1:9"]))  # needs no network any more


def test_a_connection_that_breaks_off_is_resumed(published: Callable[[], Any]) -> None:
    server = published()
    load_dataset(DataConfig(name="cifar10", mirrors=[f"{server.url}/cut/"]))
    ranges = [asked for _, asked in server.requests]
    assert ranges[0] == "" and ranges[1].startswith("bytes=") and len(ranges) == 3


def test_a_partial_file_of_an_earlier_run_is_resumed(published: Callable[[], Any], archive: bytes) -> None:
    server = published()
    Path("data/cifar10").mkdir(parents=True)
    Path(f"data/cifar10/{ARCHIVE}.part").write_bytes(archive[:1000])
    load_dataset(DataConfig(name="cifar10", mirrors=[f"{server.url}/good"]))
    assert [asked for _, asked in server.requests] == ["bytes=1000-"]


@pytest.mark.parametrize("way", ["good", "norange"])
@pytest.mark.parametrize("size", [100, 10**7])
def test_a_bad_partial_file_is_thrown_away(published: Callable[[], Any], way: str, size: int) -> None:
    server = published()
    Path("data/cifar10").mkdir(parents=True)
    Path(f"data/cifar10/{ARCHIVE}.part").write_bytes(b"x" * size)
    load_dataset(DataConfig(name="cifar10", mirrors=[f"{server.url}/{way}"]))
    assert not Path(f"data/cifar10/{ARCHIVE}.part").exists()


def test_garbage_and_missing_files_fall_through_to_the_next_mirror(published: Callable[[], Any]) -> None:
    server = published()
    mirrors = ["http://127.0.0.1:9", f"{server.url}/garbage", f"{server.url}/none/such", f"{server.url}/good"]
    server.files["such"] = b""
    load_dataset(DataConfig(name="cifar10", mirrors=mirrors))
    assert server.requests[0][0].startswith("/garbage")


def test_when_nothing_delivers_one_message_names_each_address_and_three_ways_out(published: Callable[[], Any]) -> None:
    server = published()
    server.files = {"other": b""}
    config = DataConfig(name="cifar10", mirrors=[f"{server.url}/good", "http://no-such-host.invalid/x"])
    start = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        load_dataset(config)
    text = str(caught.value)
    assert time.monotonic() - start < 12
    assert len(text.splitlines()) <= 8
    for part in ("404", "not resolved", "127.0.0.1:9", "data.mirrors=", "data/cifar10", "data=digits"):
        assert part in text
    assert not list(Path("data/cifar10").glob("cifar*"))


def test_garbage_leaves_no_file_behind(published: Callable[[], Any]) -> None:
    server = published()
    with pytest.raises(DownloadError, match="wrong checksum"):
        load_dataset(DataConfig(name="cifar10", mirrors=[f"{server.url}/garbage"]))
    assert not list(Path("data/cifar10").glob("cifar*"))


def test_a_server_that_says_nothing_is_given_up_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mlstack.datasets.fetch.TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = RemoteFile(f"http://127.0.0.1:{silent.getsockname()[1]}/file", md5="0" * 32, size=10)
        with pytest.raises(DownloadError, match="no answer within"):
            fetch([file], tmp_path, mirrors=[], name="cifar10")


def test_a_mirror_may_be_a_folder(published: Callable[[], Any], archive: bytes, tmp_path: Path) -> None:
    published()
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / ARCHIVE).write_bytes(archive)
    dataset = load_dataset(DataConfig(name="cifar10", mirrors=[(tmp_path / "mirror").as_uri()]))
    assert len(dataset.classes) == 10


def test_a_mirror_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an address"):
        load_dataset(DataConfig(name="cifar10", mirrors=["mirror.example.org"]))


def test_two_at_once_fetch_once(published: Callable[[], Any]) -> None:
    server = published()
    config = DataConfig(name="cifar10", mirrors=[f"{server.url}/good"])
    threads = [threading.Thread(target=load_dataset, args=(config,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert len(load_dataset(config).splits["test"]) == 50


def test_without_leave_to_download_nothing_is_asked_for() -> None:
    with pytest.raises(DownloadError, match=r"data\.download=false"):
        load_dataset(DataConfig(name="cifar10", download=False))
    with pytest.raises(DownloadError, match=r"data\.download=false"):
        load_dataset(DataConfig(name="fashion_mnist", path="nowhere", download=False))


def test_an_archive_or_folder_placed_by_hand_is_used(archive: bytes, make: Any) -> None:
    Path("placed").mkdir()
    Path("placed", ARCHIVE).write_bytes(archive)
    by_folder = load_dataset(DataConfig(name="cifar10", path="placed", download=False))
    Path("single").mkdir()
    Path("single", ARCHIVE).write_bytes(archive)
    by_file = load_dataset(DataConfig(name="cifar10", path=f"single/{ARCHIVE}"))
    make.cifar(Path("loose"))
    loose = load_dataset(DataConfig(name="cifar10", path="loose"))
    assert by_folder.fingerprint == by_file.fingerprint == loose.fingerprint


def pack(members: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_can_not_write_outside_its_folder(tmp_path: Path) -> None:
    archive = pack({"../../evil.bin": b"1", "/evil.bin": b"2", "sub/good.bin": b"3"}, tmp_path / "a.tar.gz")
    unpack(archive, tmp_path / "in" / "out", members=["good.bin"])
    assert [path.name for path in tmp_path.rglob("*.bin")] == ["good.bin"]


def test_a_broken_archive_leaves_nothing_behind(tmp_path: Path) -> None:
    whole = pack({"a.bin": bytes(range(256)) * 400}, tmp_path / "a.tar.gz").read_bytes()
    for data in (whole[:-200], b"no archive", whole):
        (tmp_path / "b.tar.gz").write_bytes(data)
        with pytest.raises(DataError, match=r"b\.tar\.gz"):
            unpack(tmp_path / "b.tar.gz", tmp_path / "out", members=["a.bin", "b.bin"])
        assert (
            sorted(path.name for path in tmp_path.iterdir() if path.name.endswith("out") or "out." in path.name) == []
        )


def test_a_folder_that_can_not_be_made_is_one_line(published: Callable[[], Any]) -> None:
    published()
    Path("file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        fetch([cifar.LAYOUTS["cifar10"].archive], Path("file/inside"), mirrors=[], name="cifar10")


def test_the_command_fetches_says_where_and_cleans_only_its_own(
    published: Callable[[], Any], archive: bytes, capsys: pytest.CaptureFixture[str], make: Any
) -> None:
    server = published()
    download(DownloadConfig(data=DataConfig(name="cifar10", mirrors=[f"{server.url}/good"])))
    assert "data/cifar10" in capsys.readouterr().out
    Path("data/cifar100").mkdir()
    Path("data/cifar100/cifar-100-binary.tar.gz").write_bytes(archive)  # put there by hand
    Path("data/cifar100/x.part").write_bytes(b"123")
    Path("data/.cache/photos").mkdir(parents=True)
    make.folder(Path("data/image_folder"))
    download(DownloadConfig(clean=True))
    output = capsys.readouterr().out
    for name in (ARCHIVE, "x.part", "data/.cache"):
        assert name in output
    assert not Path(f"data/cifar10/{ARCHIVE}").exists()
    assert Path("data/cifar10/cifar-10-batches-bin/test_batch.bin").exists()
    assert Path("data/cifar100/cifar-100-binary.tar.gz").exists()
    assert Path("data/image_folder/cats/0.jpg").exists()
    download(DownloadConfig(clean=True))
    assert "nothing to remove" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["digits", "image_folder"])
def test_the_command_says_when_there_is_nothing_to_download(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    download(DownloadConfig(data=DataConfig(name=name)))
    assert "nothing to download" in capsys.readouterr().out


def test_an_unpacked_set_whose_folder_vanished_is_unpacked_again(published: Callable[[], Any]) -> None:
    server = published()
    config = DataConfig(name="cifar10", mirrors=[f"{server.url}/good"])
    load_dataset(config)
    shutil.rmtree("data/cifar10/cifar-10-batches-bin")
    load_dataset(config)
    assert len(server.requests) == 1
