from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from whole_bundle import metadata, write_whole_bundle

from mlstack.bundle import replacing
from mlstack.bundle.folder import read_bundle, seal, write_bundle
from mlstack.errors import BundleError, OutputError

KILLED_WRITERS = Path(__file__).with_name("killed_writers.py")


@pytest.mark.parametrize("way", ["exchange", "two_moves"])
def test_a_writer_killed_at_any_step_leaves_a_whole_bundle_and_nothing_for_long(way: str, tmp_path: Path) -> None:
    words = [sys.executable, str(KILLED_WRITERS), str(tmp_path), way]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    *states, cleaned = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert set(states) == {"old", "new"}
    assert states == sorted(states, reverse=True), "once the new one is there it stays"
    assert int(cleaned.removeprefix("cleaned ")) > 5


def test_a_new_bundle_takes_the_place_of_the_old_one(bundle: Path) -> None:
    write_whole_bundle(bundle, version="v2")
    assert read_bundle(bundle).metadata.version == "v2"
    assert not (bundle / "model.int8.onnx").exists()
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("mishap", [BundleError("it answers otherwise"), KeyboardInterrupt(), OSError(28, "full")])
def test_a_mishap_while_writing_leaves_the_old_bundle_alone(mishap: BaseException, bundle: Path) -> None:
    def fail() -> None:
        with write_bundle(bundle) as staging:
            (staging / "model.onnx").write_bytes(b"half")
            raise mishap

    with pytest.raises(type(mishap)):
        fail()
    assert read_bundle(bundle).metadata.version == "v1"
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_an_old_bundle_goes_back_where_the_new_one_cannot_be_moved_there(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing, "_exchange", lambda one, other: False)
    rename = Path.rename

    def fail_once(path: Path, target: Path) -> Path:
        if target == bundle and not path.name.endswith(".old"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OutputError, match="Input/output error"):
        write_whole_bundle(bundle, version="v2")
    monkeypatch.undo()
    assert read_bundle(bundle).metadata.version == "v1"
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_what_another_writer_is_at_work_on_is_not_taken_for_a_leftover(bundle: Path) -> None:
    with write_bundle(bundle) as staging:
        other = staging.rename(staging.with_name(".bundle.999999999"))  # a process that is none of this machine's
        write_whole_bundle(bundle, version="v2")
        assert other.is_dir()
        other.rename(staging)
        seal_one_model(staging, "v3")
    assert read_bundle(bundle).metadata.version == "v3"


def seal_one_model(staging: Path, version: str) -> None:
    (staging / "model.onnx").write_bytes(b"model")
    seal(staging, metadata(version=version))


def test_a_link_to_a_bundle_stays_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle)
    write_whole_bundle(tmp_path / "current", version="v2")
    assert (tmp_path / "current").is_symlink()
    assert read_bundle(bundle).metadata.version == "v2"


def test_an_empty_folder_becomes_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert read_bundle(write_whole_bundle(tmp_path / "empty")).metadata.name == "tiny"


@pytest.mark.parametrize("name", ["photo.jpg", "metadata.json"])
def test_a_folder_that_is_no_bundle_is_never_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(OutputError, match="it is not a whole bundle that could be replaced"):
        write_whole_bundle(tmp_path)
    assert (tmp_path / name).read_text() == "{}"


def test_a_bundle_with_something_of_the_users_own_in_it_is_not_replaced(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt in it does not belong to the bundle"):
        write_whole_bundle(bundle)
    assert (bundle / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        write_whole_bundle(tmp_path / "file" / "bundle")
    with pytest.raises(OutputError, match="not a whole bundle"):
        write_whole_bundle(tmp_path / "file")


def test_what_no_bundle_can_say_is_refused_before_anything_is_moved(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"metadata\.json: name has to be"):
        write_whole_bundle(bundle, name="a/b")
    assert read_bundle(bundle).metadata.name == "tiny"


def test_a_bundle_that_was_moved_aside_by_a_process_now_dead_is_put_back(bundle: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    bundle.rename(bundle.with_name(f".bundle.{ended.pid}.old"))
    assert read_bundle(bundle).metadata.version == "v1"
    bundle.rename(
        bundle.with_name(f".bundle.{os.getppid()}.old")
    )  # its process is alive, and about to move the new one
    with pytest.raises(BundleError, match="is missing"):
        read_bundle(bundle)
