from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import make_model
from whole_bundle import NAMES, disturb, metadata, write_whole_bundle

from mlstack.bundle.answers import check_answers, relative_error
from mlstack.bundle.folder import Bundle, read_bundle, seal
from mlstack.bundle.metadata import ModelFile
from mlstack.errors import BundleError

ALONE = """
import sys
class Barred:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in {"numpy", "onnxruntime", "mlstack"} and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"{top} is not there", name=top)
sys.meta_path.insert(0, Barred())
import mlstack.bundle.answers, mlstack.bundle.folder, mlstack.bundle.reference, mlstack.bundle.session
assert "onnxruntime" not in sys.modules, "imported before a session is made"
from mlstack.bundle.folder import read_bundle
bundle = read_bundle(sys.argv[1])
assert "onnxruntime" not in sys.modules, "imported by reading"
print([check.passed for check in mlstack.bundle.answers.check_answers(bundle)])
"""


def test_a_bundle_is_read_and_asked_with_numpy_and_onnxruntime_alone(written: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, str(written)], capture_output=True, text=True, check=False)
    assert done.stdout == "[True, True]\n", done.stderr


def test_each_model_answers_the_golden_pictures_as_at_export(written: Path) -> None:
    full, small = check_answers(read_bundle(written))
    assert full.error < 1e-6
    assert full.error < small.error < small.allowed
    assert (full.same, full.pictures) == (8, 8)


def resealed(bundle: Path, *models: ModelFile) -> Bundle:
    """The bundle after somebody changed its files and wrote fitting checksums."""
    seal(bundle, metadata(models=models))
    return read_bundle(bundle)


def test_a_model_that_answers_otherwise_is_found_out(bundle: Path) -> None:
    disturb(bundle / NAMES["fp32"], bundle / NAMES["int8"], noise=3)
    make_model(bundle / NAMES["fp32"], classes=3, seed=5)
    both = [ModelFile(name, precision, 0, {}, {}) for precision, name in NAMES.items()]
    assert [check.passed for check in check_answers(resealed(bundle, *both))] == [False, False]


def test_a_small_model_may_differ_as_much_as_was_measured_at_export(bundle: Path) -> None:
    disturb(bundle / NAMES["fp32"], bundle / NAMES["int8"], noise=3)
    full, small = (ModelFile(name, precision, 0, {}, {}) for precision, name in NAMES.items())
    error = check_answers(resealed(bundle, full, small))[1].error
    known = replace(small, details={"golden_error": error})
    check = check_answers(resealed(bundle, full, known))[1]
    assert check.passed
    assert check.allowed == pytest.approx(2 * error)


def test_an_answer_that_is_no_number_does_not_pass(written: Path) -> None:
    error = relative_error(np.array([[np.nan, 1.0]], np.float32), np.ones((1, 2), np.float32))
    assert not replace(check_answers(read_bundle(written))[0], error=error).passed
    assert relative_error(np.array([[3.0]], np.float32), np.array([[-2.0]], np.float32)) == 2.5


OTHERS = {
    "pictures": ({"size": 9}, "takes pictures"),
    "batches": ({"batch": 2}, "takes batches of 2, metadata.json says None"),
    "answers": ({"task": "regression"}, "answers values, metadata.json says probabilities"),
    "classes": ({"classes": 5}, r"answers \[8, 5\], expected \[8, 3\]"),
}


@pytest.mark.parametrize(("model", "message"), OTHERS.values(), ids=OTHERS.keys())
def test_a_model_that_does_not_fit_what_the_bundle_says_is_refused(
    model: dict[str, object], message: str, bundle: Path
) -> None:
    make_model(bundle / NAMES["fp32"], **{"classes": 3, **model})  # type: ignore[arg-type]
    (bundle / NAMES["int8"]).unlink()
    with pytest.raises(BundleError, match=message):
        check_answers(resealed(bundle, ModelFile("model.onnx", "fp32", 0, {}, {})))


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks_are_compared_too(task: str, tmp_path: Path) -> None:
    output = "values" if task == "regression" else "probabilities"
    (check,) = check_answers(read_bundle(write_whole_bundle(tmp_path / "bundle", task=task, output=output)))
    assert check.passed
    assert check.same == (None if task == "regression" else 8)
