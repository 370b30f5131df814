"""What conducts the parts of benchmarks/gpu.py; here they are scripts of a few lines, and no framework is imported."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gpu
from gpu_parts._parts import PARTS, Part
from gpu_parts._rows import Row, RowWriter, Skipped, read_rows
from gpu_parts._running import run_limited
from gpu_parts.stage_one import as_row
from mlstack.validation.report import judge, not_checked

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

ROW = json.dumps({"name": "speed", "status": "ok", "value": 2.5, "unit": "images/s"})
WRITES = f"import sys; open(sys.argv[1], 'a').write('''{ROW}\\n''');"
# Leaves a child in a session of its own, as launchers do, and notes its number.
LEAVES_A_CHILD = (
    "import subprocess, pathlib; child = subprocess.Popen(['sleep', '60'], start_new_session=True);"
    "pathlib.Path({note!r}).write_text(str(child.pid));"
)
HANGS = "import time; time.sleep(60)"

Conduct = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def conduct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conduct]:
    """`conduct({"name": program}, "--dry", seconds=…)`: the exit status, and gpu.json."""
    monkeypatch.setattr(gpu, "gpu_driver", lambda: None)
    monkeypatch.setattr(gpu, "DRY_PATIENCE", 1.0)
    for name in ("PYTHONPATH", "PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES"):  # set for the parts; restored afterwards
        monkeypatch.setenv(name, os.environ.get(name, ""))
    before = signal.getsignal(signal.SIGTERM)

    def conduct(
        programs: dict[str, str], *words: str, seconds: float = 20.0, needs: tuple[str, ...] = ()
    ) -> tuple[int, dict[str, Any]]:
        def command(name: str, rows: Path, folder: Path, *, dry: bool) -> list[str]:
            return [sys.executable, "-S", "-c", programs[name], str(rows)]

        monkeypatch.setattr(gpu, "part_command", command)
        parts = [Part(name, f"what {name} does", seconds, needs) for name in programs]
        status = gpu.main([*words, "--output", str(tmp_path)], parts)
        path = tmp_path / "gpu.json"
        return status, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    yield conduct
    signal.signal(signal.SIGTERM, before)


def ends(pid: int) -> bool:
    """Whether a process is gone, or is within seconds: a signal that was sent takes its time."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_without_a_gpu_one_line_says_how_to_make_a_dry_run(
    conduct: Conduct, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = conduct({"one": WRITES})
    said = capsys.readouterr().err
    assert (status, report) == (2, {})
    assert len(said.splitlines()) == 1 and "nvidia-smi finds none" in said and "--dry" in said


def test_a_part_that_fails_costs_itself_alone(conduct: Conduct) -> None:
    programs = {
        "crashes": WRITES + "sys.exit('boom')",
        "dies": WRITES + "import os; os.abort()",
        "good": WRITES,
        "silent": "",
    }
    status, report = conduct(programs, "--dry")
    found = {part["name"]: part for part in report["parts"]}
    assert status == 1
    assert {name: part["status"] for name, part in found.items()} == {
        "crashes": "failed",
        "dies": "failed",
        "good": "ok",
        "silent": "failed",
    }
    assert found["crashes"]["reason"] == "exit status 1: boom"
    assert "SIGABRT" in found["dies"]["reason"]
    assert found["silent"]["reason"] == "it measured nothing"
    assert [len(part["rows"]) for part in found.values()] == [1, 1, 1, 0]
    assert report["finished"] and report["dry"]


def test_a_part_that_hangs_is_ended_with_all_that_it_started_and_its_rows_stay(
    conduct: Conduct, tmp_path: Path
) -> None:
    programs = {"hangs": WRITES + LEAVES_A_CHILD.format(note=str(tmp_path / "pid")) + HANGS, "next": WRITES}
    started = time.monotonic()
    status, report = conduct(programs, "--dry", seconds=1.0)
    hangs, following = report["parts"]
    assert (status, hangs["status"], following["status"]) == (1, "cut off", "ok")
    assert hangs["reason"] == "it had not ended after 1 s"
    assert hangs["rows"][0]["value"] == 2.5
    assert time.monotonic() - started < 15
    assert ends(int((tmp_path / "pid").read_text()))


def test_what_a_part_needs_and_is_not_installed_is_its_reason(
    conduct: Conduct, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = conduct({"one": WRITES}, "--dry", needs=("json", "no_such_module"))
    assert (status, report["missing"]) == (0, ["no_such_module"])
    assert report["parts"][0]["status"] == "skipped"
    assert report["parts"][0]["reason"] == "needs no_such_module, not installed"
    assert "not installed here: no_such_module" in capsys.readouterr().out


def test_when_the_time_of_the_whole_run_is_over_the_rest_is_skipped(conduct: Conduct) -> None:
    status, report = conduct({"one": WRITES, "two": WRITES}, "--dry", "--seconds", "5")
    assert status == 0
    assert {part["status"] for part in report["parts"]} == {"skipped"}
    assert "used up" in report["parts"][0]["reason"]


def test_parts_import_the_code_beside_them_wherever_they_run(conduct: Conduct, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "mine")
    conduct({"one": WRITES}, "--dry")
    paths = os.environ["PYTHONPATH"].split(os.pathsep)
    assert paths == [str(BENCHMARKS), str(BENCHMARKS.parent / "src"), str(Path("mine").resolve())]


def test_parts_are_chosen_by_name_and_an_unknown_one_is_refused(
    conduct: Conduct, capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = conduct({"one": WRITES, "two": WRITES}, "--dry", "--parts", "two")
    assert [part["name"] for part in report["parts"]] == ["two"]
    with pytest.raises(SystemExit) as ended:
        conduct({"one": WRITES}, "--dry", "--parts", "three")
    assert ended.value.code == 2
    assert "three is no part; there are one" in capsys.readouterr().err


ENDED_EARLY = """
import sys
sys.path.insert(0, {benchmarks!r})
import gpu
from gpu_parts._parts import Part
gpu.part_command = lambda name, rows, folder, dry: [sys.executable, "-S", "-c", {program!r}, str(rows)]
sys.exit(gpu.main(["--dry", "--output", {output!r}], [Part("hangs", "", 60, ()), Part("next", "", 60, ())]))
"""


def test_a_run_that_is_terminated_keeps_what_it_has_and_leaves_no_process(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = WRITES + f"import os, pathlib; pathlib.Path({str(note)!r}).write_text(str(os.getpid()));" + HANGS
    driver = ENDED_EARLY.format(benchmarks=str(BENCHMARKS), program=program, output=str(tmp_path / "output"))
    report_path = tmp_path / "output" / "gpu.json"
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not (report_path.exists() and note.exists()) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    report = json.loads(report_path.read_text(encoding="utf-8"))
    assert [part["status"] for part in report["parts"]] == ["interrupted", "waiting"]
    assert report["parts"][0]["rows"][0]["name"] == "speed"
    assert not report["finished"]
    assert ends(int(note.read_text()))


def test_what_a_command_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = LEAVES_A_CHILD.format(note=str(note)).replace(", start_new_session=True", "")
    ended = run_limited([sys.executable, "-S", "-c", program], tmp_path / "log", seconds=20)
    assert ended.status == 0
    assert ends(int(note.read_text()))


def test_the_conductor_needs_no_package_so_that_it_can_say_which_are_missing() -> None:
    paths = [str(BENCHMARKS), str(BENCHMARKS.parent / "src")]
    program = f"import sys; sys.path[:0] = {paths!r}; import gpu"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)


def test_a_row_that_fails_or_is_skipped_leaves_the_others(tmp_path: Path) -> None:
    rows = RowWriter(tmp_path / "rows")
    with rows.attempt("first"):
        raise RuntimeError("CUDA error: out of memory\nand a page of advice")
    with rows.attempt("second"):
        raise Skipped("needs two cards")
    with rows.attempt("third"):
        rows.add("third", 1.0, "ms", ratio=0.5, against="first")
    with rows.path.open("a", encoding="utf-8") as file:
        file.write('{"name": "half of a li')
    assert read_rows(rows.path) == [
        Row("first", "failed", note="RuntimeError: CUDA error: out of memory"),
        Row("second", "skipped", note="needs two cards"),
        Row("third", "ok", 1.0, "ms", 0.5, "first"),
    ]


def test_a_criterion_that_is_missed_is_a_finding_and_no_failure_of_the_benchmark() -> None:
    kept = as_row(judge("GPU memory", 0.5, "at_most", 0.8))
    missed = as_row(judge("GPU utilization", 0.3, "at_least", 0.9, mend="larger batches"))
    left_out = as_row(not_checked("GPU memory", "at_most", 0.8, reason="a dry run"))
    assert (kept.status, kept.note) == ("ok", "≤ 0.8: kept")
    assert (missed.status, missed.note) == ("ok", "≥ 0.9: FAIL: larger batches")
    assert (left_out.status, left_out.note) == ("skipped", "a dry run")


def test_each_part_is_a_file_that_says_what_it_measures() -> None:
    files = {path.stem: path for path in (BENCHMARKS / "gpu_parts").glob("[a-z]*.py")}
    assert set(files) == {part.name for part in PARTS}
    assert sum(part.seconds for part in PARTS[:7]) <= 10 * 60
    for path in files.values():
        assert len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") > 60, path.name


def test_what_is_worth_most_comes_first() -> None:
    assert [part.name for part in PARTS][:3] == ["stage_one", "input", "precision"]
