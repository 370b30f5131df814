from __future__ import annotations

import hashlib
import logging
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlstack.errors import ConfigError, OutputError
from mlstack.serving.keys import KEY, Client, KeyRing, add_key, admin_needed, key_needed

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_api_key.py"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_made_key_opens_in_either_header_and_its_file_holds_only_the_hash(file: Path) -> None:
    key = add_key(file, "alice", admin=False)
    boss = add_key(file, "ops", admin=True)
    ring = KeyRing(file)
    assert KEY.fullmatch(key)
    assert ring.check(bearer(key)) == Client("alice", admin=False)
    assert ring.check({"authorization": f"bearer  {boss} "}) == Client("ops", admin=True)
    assert ring.check({"x-api-key": key, "authorization": "Basic YWxpY2U="}) == Client("alice", admin=False)
    text = file.read_text()
    assert key not in text and boss not in text
    assert hashlib.sha256(key.encode()).hexdigest() in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("sent", ["", "mls_", "x" * 70_000, "mls_" + "A" * 43, "mls_é" + "A" * 42, "\ud800"])
def test_another_key_opens_nothing(file: Path, sent: str) -> None:
    add_key(file, "alice", admin=False)
    ring = KeyRing(file)
    assert ring.check(bearer(sent)) is None
    assert ring.check({"x-api-key": sent}) is None
    assert ring.check({}) is None


def test_a_password_is_no_key_even_if_its_hash_stands_in_the_file(file: Path) -> None:
    file.write_text(f"alice sha256:{hashlib.sha256(b'secret').hexdigest()}\n")
    assert KeyRing(file).check(bearer("secret")) is None


def test_a_key_comes_and_goes_by_editing_the_file_a_second_later(file: Path) -> None:
    clock = Clock()
    first = add_key(file, "alice", admin=False)
    ring = KeyRing(file, clock=clock)
    second = add_key(file, "bob", admin=False)
    assert ring.check(bearer(second)) is None
    clock.now = 1.0
    assert ring.check(bearer(second)) == Client("bob", admin=False)
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("alice")))
    clock.now = 2.0
    assert ring.check(bearer(first)) is None
    assert ring.check(bearer(second)) == Client("bob", admin=False)


def test_an_edit_of_equal_size_and_time_is_noticed_while_the_file_is_young(file: Path) -> None:
    clock = Clock()
    old = add_key(file, "alice", admin=False)
    ring, facts = KeyRing(file, clock=clock), file.stat()
    text = file.read_text()
    file.write_text(text[:-2] + ("0" if text[-2] != "0" else "1") + "\n")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    clock.now = 1.0
    assert ring.check(bearer(old)) is None


@pytest.mark.parametrize("edit", ["alice secret\n", "", None], ids=["a plain key", "an empty file", "no file"])
def test_a_broken_edit_leaves_the_keys_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture, edit: str | None
) -> None:
    clock = Clock()
    key = add_key(file, "alice", admin=False)
    ring = KeyRing(file, clock=clock)
    file.unlink() if edit is None else file.write_text(edit)
    with caplog.at_level(logging.ERROR):
        for second in range(1, 5):
            clock.now = float(second)
            assert ring.check(bearer(key)) == Client("alice", admin=False)
    assert len(caplog.records) == 1
    assert "the keys stay as they were" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("alice mls_secret\n", "line 1"),
        ("mls_secret\n", "line 1"),
        (f"# fine\nalice sha256:{'0' * 63}\n", "line 2"),
        (f"alice sha256:{'0' * 64} root\n", "line 1"),
        (f"alice sha256:{'0' * 64}\nalice sha256:{'1' * 64}\n", "alice stands there twice"),
        ("# nobody yet\n", "holds no key"),
        (b"\xff\xfe\x00", "line 1"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_with_the_command_that_makes_a_key(
    file: Path, text: str | bytes, named: str
) -> None:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=named) as error:
        KeyRing(file)
    assert "scripts/make_api_key.py name=NAME" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_that_is_not_there_is_refused_with_the_command_that_makes_it(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.txt can't be read") as error:
        KeyRing(file)
    assert f"make_api_key.py name=NAME file={file}" in str(error.value)


def test_comments_and_blank_lines_are_passed_over(file: Path) -> None:
    file.write_text("# clients\n\n")
    key = add_key(file, "alice", admin=False)
    file.write_text(file.read_text().rstrip("\n") + "  # since May")
    add_key(file, "bob", admin=False)
    ring = KeyRing(file)
    assert len(ring) == 2
    assert ring.check(bearer(key)) == Client("alice", admin=False)


def test_a_name_that_is_taken_or_not_plain_is_refused(file: Path) -> None:
    add_key(file, "alice", admin=False)
    before = file.read_text()
    with pytest.raises(ConfigError, match="alice already"):
        add_key(file, "alice", admin=True)
    with pytest.raises(ConfigError, match="not a plain one"):
        add_key(file, "two words", admin=False)
    with pytest.raises(OutputError, match="can't be written"):
        add_key(file.parent / "nowhere" / "keys.txt", "bob", admin=False)
    assert file.read_text() == before


def test_keys_that_are_made_at_once_all_reach_the_file(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda number: add_key(file, f"client{number}", admin=False), range(24)))
    ring = KeyRing(file)
    assert {ring.check(bearer(key)) for key in keys} == {Client(f"client{n}", admin=False) for n in range(24)}


def test_refusals_say_what_to_send_and_repeat_no_key() -> None:
    missing, unknown = key_needed({}), key_needed(bearer("mls_secret"))
    assert (missing.status, unknown.status) == (401, 401)
    assert "wants an API key" in missing.detail and "not known" in unknown.detail
    for problem in (missing, unknown):
        assert "authorization: Bearer KEY" in problem.detail and "x-api-key: KEY" in problem.detail
        assert dict(problem.headers)["www-authenticate"].startswith("Bearer")
        assert b"secret" not in problem.response("1").body
    assert admin_needed(Client("alice", admin=False)).status == 403
    assert "alice" in admin_needed(Client("alice", admin=False)).detail
    assert "serve.api_keys_file" in admin_needed(None).detail


def test_the_script_prints_a_key_that_works_once_and_refuses_the_name_a_second_time(file: Path) -> None:
    words = [sys.executable, str(SCRIPT), "name=alice", f"file={file}", "admin=true"]
    first, second = (
        subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd=file.parent) for _ in "12"
    )
    assert first.returncode == 0, first.stderr
    (key,) = KEY.findall(first.stdout)
    assert KeyRing(file).check(bearer(key)) == Client("alice", admin=True)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.startswith("error: ") and "alice already" in second.stderr
