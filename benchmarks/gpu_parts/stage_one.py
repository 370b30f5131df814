"""Stage 1 as a user runs it, `python scripts/validate.py stage=venv`: one row for each criterion, limit and verdict.

Its run and its bundle stay for the parts that need one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from gpu_parts._part import SCRIPTS, Place, run_part
from gpu_parts._rows import Row, RowWriter
from mlstack.validation.report import SIGNS, Criterion, StageReport, read_report, show

NOT_OURS = ("images_per_second", "accuracy", "latency_ms", "peak_memory_mb", "cpu_share")


def measure(rows: RowWriter, place: Place) -> None:
    """Run the stage and read its report."""
    words = ["stage=venv", f"output_dir={place.shared}", *(["allow_cpu=true", "accelerator=cpu"] if place.dry else [])]
    words += ["models=[small_cnn]"] if place.dry else []
    command = [sys.executable, str(SCRIPTS / "validate.py"), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)  # what it says goes to this part's log
    path = place.shared / "validate" / "venv.json"
    if not path.is_file():
        raise RuntimeError(f"validate.py ended with exit status {done.returncode} and wrote no report: see the log")
    for file in path.parent.glob("venv.*"):
        shutil.copy(file, place.kept)
    report = read_report(path)
    for criterion in report.criteria:
        rows.write(as_row(criterion))
    for name in NOT_OURS:
        if (value := report.measurements.get(name)) is not None:
            rows.add(f"measured: {name}", value)
    speed_of_data(rows, report)


def as_row(criterion: Criterion) -> Row:
    """A criterion that was not kept is a finding, not a failure of the benchmark: the row is ok and says FAIL."""
    limit = f"{SIGNS[criterion.kind]} {show(criterion.limit, criterion.unit)}"
    if criterion.status == "not_checked":
        return Row(criterion.name, "skipped", note=criterion.note)
    verdict = "kept" if criterion.status == "ok" else f"FAIL: {criterion.note}"
    return Row(criterion.name, "ok", criterion.value, criterion.unit, note=f"{limit}: {verdict}")


def speed_of_data(rows: RowWriter, report: StageReport) -> None:
    """Real against synthetic pictures, as the stage counts them."""
    for unit in ("images_per_second", "images_per_cpu_second"):
        real, made_up = (report.measurements.get(f"{unit}_{kind}") for kind in ("real", "synthetic"))
        if real and made_up:
            name = unit.replace("_per_", " / ").replace("_", " ")
            rows.add("real pictures", real, name, ratio=real / made_up, against="synthetic pictures")


if __name__ == "__main__":
    run_part(measure)
