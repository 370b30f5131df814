from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from whole_bundle import write_whole_bundle

from mlstack.bundle.folder import find_bundle, read_bundle
from mlstack.errors import BundleError

FILES = ("model.onnx", "model.int8.onnx", "reference.npz", "README.md", "figures/dot.png")


def rewrite(bundle: Path, **changes: object) -> None:
    """Change fields of metadata.json by hand."""
    path = bundle / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_a_whole_bundle_is_read(bundle: Path) -> None:
    read = read_bundle(bundle)
    assert tuple(sorted(read.metadata.files)) == tuple(sorted(FILES))
    assert read.metadata.models[0].bytes == (bundle / "model.onnx").stat().st_size
    assert read.model() == bundle / "model.onnx"
    assert read.model("int8") == bundle / "model.int8.onnx"
    with pytest.raises(BundleError, match="has no fp16 model") as caught:
        read.model("fp16")
    assert caught.value.allowed == ("fp32", "int8")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, -1])
def test_one_flipped_bit_is_refused_with_the_files_name(name: str, place: int, bundle: Path) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[place] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} was changed .* another sha256"):
        read_bundle(bundle)
    read_bundle(bundle, verify=False)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_length_is_refused_with_its_name(name: str, bundle: Path) -> None:
    with (bundle / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BundleError, match=f"{name} was changed .* bytes instead of"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("verify", [True, False])
def test_a_missing_file_is_refused_with_its_name(name: str, verify: bool, bundle: Path) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_bundle(bundle, verify=verify)


@pytest.mark.parametrize("name", ["weights.bin", "figures/more.png", ".hidden", "model.onnx.data"])
def test_a_file_that_nobody_vouches_for_is_refused_with_its_name(name: str, bundle: Path) -> None:
    (bundle / name).touch()
    with pytest.raises(BundleError, match=rf"{name} does not belong to the bundle"):
        read_bundle(bundle)


def test_what_a_desktop_leaves_behind_does_no_harm(bundle: Path) -> None:
    (bundle / "figures" / ".DS_Store").write_bytes(b"Bud1")
    (bundle / "Thumbs.db").touch()
    (bundle / "empty").mkdir()
    assert set(read_bundle(bundle).metadata.files) == set(FILES)


@pytest.mark.parametrize("verify", [True, False])
def test_a_link_out_of_the_bundle_is_refused(verify: bool, bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx is a link to a place outside"):
        read_bundle(bundle, verify=verify)


@pytest.mark.parametrize("verify", [True, False])
def test_a_linked_folder_in_the_bundle_is_refused(verify: bool, bundle: Path, tmp_path: Path) -> None:
    (bundle / "figures").rename(tmp_path / "elsewhere")
    (bundle / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"figures"):
        read_bundle(bundle, verify=verify)


def test_a_bundle_that_is_reached_over_a_link_is_read(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle)
    assert read_bundle(tmp_path / "current").model().is_file()


def test_a_bundle_was_moved_and_is_read(bundle: Path, tmp_path: Path) -> None:
    assert read_bundle(bundle.rename(tmp_path / "elsewhere")).model().parent == tmp_path / "elsewhere"


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda path: path.unlink(), "is missing"),
    "a pipe": (a_pipe, "is missing"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is damaged"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe{}"), "can't be read"),
    "endless": (lambda path: os.truncate(path, 2**25), "larger than 16 MiB"),
    "of tomorrow": (lambda path: rewrite(path.parent, schema_version=9), "is of schema version 9"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED.keys())
def test_metadata_that_cannot_be_used_are_one_line_with_the_files_name(
    spoil: Callable[[Path], object], message: str, bundle: Path
) -> None:
    spoil(bundle / "metadata.json")
    with pytest.raises(BundleError, match=rf"metadata\.json.*{message}") as caught:
        read_bundle(bundle)
    assert len(caught.value.message.splitlines()) == 1


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere/metadata\.json is missing"):
        read_bundle(tmp_path / "nowhere")


def test_a_bundle_is_found_by_its_folder_or_its_run(bundle: Path) -> None:
    assert find_bundle(str(bundle)) == bundle
    assert find_bundle(str(bundle.parent)) == bundle
    with pytest.raises(BundleError, match=r"model=.*: no bundle there") as caught:
        find_bundle(str(bundle / "figures"), key="model")
    assert "scripts/export.py" in caught.value.hint


def test_latest_is_the_bundle_that_was_made_last_wherever_its_run_stands(tmp_path: Path) -> None:
    moments = {
        "a/1": "2026-11-02T10:00:00+00:00",
        "a/2": "2026-11-02T10:00:00.5+02:00",  # two hours before the first one
        "b/1": "2026-11-02T09:59:59Z",
    }
    for run, moment in moments.items():
        write_whole_bundle(tmp_path / run / "bundle", created_at=moment)
    (tmp_path / "c" / "1" / "bundle").mkdir(parents=True)
    (tmp_path / "c" / "1" / "bundle" / "metadata.json").write_text('{"created_at": 5}')
    assert find_bundle("latest", output_dir=tmp_path) == tmp_path / "a" / "1" / "bundle"
    # A newer version of this project made one since: passing it over would answer with an old model, silently.
    rewrite(tmp_path / "b" / "1" / "bundle", schema_version=9, created_at="2027-01-01T00:00:00Z")
    with pytest.raises(BundleError, match="schema version 9"):
        read_bundle(find_bundle("latest", output_dir=tmp_path))


def test_latest_of_nothing_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle=latest: no run in .* has a bundle") as caught:
        find_bundle("latest", output_dir=tmp_path)
    assert "scripts/export.py run=latest" in caught.value.hint
