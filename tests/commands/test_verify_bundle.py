from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_bundles import make_model
from whole_bundle import metadata, write_whole_bundle

from mlstack.bundle.folder import seal
from mlstack.bundle.metadata import ModelFile
from mlstack.commands.verify_bundle import verify_bundle
from mlstack.config.export import VerifyBundleConfig
from mlstack.errors import BundleError

SCRIPT = Path(__file__).parents[2] / "scripts" / "verify_bundle.py"


def test_a_whole_bundle_is_told_with_a_line_for_each_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_whole_bundle(tmp_path / "outputs" / "digits" / "1" / "bundle", int8_noise=0.01)
    verify_bundle(VerifyBundleConfig(output_dir=str(tmp_path / "outputs")))
    shown = capsys.readouterr().out
    assert "tiny, version v1" in shown
    assert re.search(r"files +5, .* kB, sha256 of each as it was written", shown)
    assert re.search(r"model\.onnx +fp32 .* 8 of 8\n", shown)
    assert re.search(r"model\.int8\.onnx +int8 .* of 8\n", shown)
    assert shown.endswith(f"verified: {bundle}\n")


def test_a_regression_has_no_same_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify_bundle(VerifyBundleConfig(str(write_whole_bundle(tmp_path / "b", task="regression", output="values"))))
    assert re.search(r"fp32 .* –\n", capsys.readouterr().out)


def test_a_model_that_answers_otherwise_is_named_below_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_whole_bundle(tmp_path / "bundle")
    make_model(bundle / "model.onnx", classes=3, seed=9)
    seal(bundle, metadata(models=(ModelFile("model.onnx", "fp32", 0, {}, {}),)))
    with pytest.raises(BundleError, match=r"model\.onnx does not answer as it did at export"):
        verify_bundle(VerifyBundleConfig(str(bundle)))
    shown = capsys.readouterr().out
    assert "model.onnx" in shown
    assert "verified" not in shown


def test_a_damaged_file_ends_the_script_with_one_line_and_status_2(tmp_path: Path) -> None:
    bundle = write_whole_bundle(tmp_path / "bundle")
    (bundle / "README.md").write_text("# Tiny\n")
    words = [sys.executable, str(SCRIPT), f"bundle={bundle}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {bundle}/README.md was changed")
    assert len(done.stderr.splitlines()) == 2
