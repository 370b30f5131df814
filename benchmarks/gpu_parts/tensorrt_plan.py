"""A TensorRT plan of a bundle, built and compared by `scripts/export.py target=tensorrt`, where it is installed."""

from __future__ import annotations

import json
import time

from gpu_parts._bundle import run_and_bundle, script
from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter, Skipped
from mlstack.errors import MLStackError
from mlstack.export.targets import tensorrt


def measure(rows: RowWriter, place: Place) -> None:
    """Build it; the script refuses a plan that answers otherwise than the network."""
    place.need_gpu("TensorRT builds its plans on the GPU that will run them")
    try:
        tensorrt.check(None)
    except MLStackError as error:
        raise Skipped(error.message) from error
    run, _ = run_and_bundle(place)
    start = time.perf_counter()
    script("export.py", f"run={run}", "target=tensorrt")
    seconds = time.perf_counter() - start
    report = next(run.glob("targets/tensorrt/*.json"))
    details = json.loads(report.read_text(encoding="utf-8"))
    rows.add("plan built and compared", seconds, "s", note="its answers are the network's", details=details)


if __name__ == "__main__":
    run_part(measure)
