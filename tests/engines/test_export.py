"""From a network of each engine to ONNX, and to the logits and features that it is compared by."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mlstack.bundle.session import Session
from mlstack.config import Config, ModelConfig
from mlstack.datasets.base import Batch
from mlstack.engines import Engine, create_engine
from mlstack.engines.factory import weight_files
from mlstack.engines.onnx_limits import check_size
from mlstack.errors import ExportError, RunError
from mlstack.export.graph import complete
from mlstack.runs import RunFolder

pytestmark = pytest.mark.framework

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
SCALE = {"target_mean": [1000.0, 1.0], "target_std": [300.0, 0.1]}  # of two targets


class Pictures:
    """The pictures above, in two steps."""

    def __len__(self) -> int:
        return 2

    def batch(self, epoch: int, step: int) -> Batch:
        rows = np.arange(5)[step * 3 : step * 3 + 3]
        return Batch(PICTURES[rows], rows, rows)


Made = tuple[Engine, Config, RunFolder]


@pytest.fixture
def made(engine: str, configure: Callable[..., Config], tmp_path: Path) -> Callable[..., Made]:
    """`made(name="small_cnn")`: an engine, and a run whose weights are random, statistics of batch norms too."""

    def make(task: str = "classification", **model: Any) -> Made:
        config = configure(model=ModelConfig(**{"name": "own", **model}), data__task=task)
        config.data.image_size, config.data.channels = 16, 3
        config.data.mean, config.data.std = [0.5, 0.4, 0.3], [0.25, 0.2, 0.5]
        config.data.classes = ["a", "b"] if task == "regression" else ["a", "b", "c"]
        if task == "regression":
            config.data.target_mean, config.data.target_std = SCALE["target_mean"], SCALE["target_std"]
        layers, draw = importlib.import_module(f"layers_{engine}"), np.random.default_rng(1)
        layers.seed(0)
        state = layers.state(layers.build_classifier(config.model, config.data))
        for name, value in state.items():
            if name.endswith(("running_mean", "_mean", "running_var", "_variance")):
                state[name] = draw.uniform(0.5, 1.5, value.shape).astype(value.dtype)
        run = RunFolder(tmp_path / "run")
        run.checkpoints.mkdir(parents=True)
        weight_files(engine).write_weights(run.checkpoints / "best.ckpt", state)
        return create_engine(engine), config, run

    return make


def core_answers(made: Made, path: Path) -> dict[str, NDArray[np.float32]]:
    """What the exported network answers for the pictures, normalised by NumPy."""
    import onnxruntime

    engine, config, run = made
    engine.export_onnx(config, path, run=run)
    onnx.checker.check_model(path, full_check=True)
    assert [one.name for one in onnx.load(path).graph.input] == ["pixels"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = ((PICTURES / 255 - config.data.mean) / config.data.std).astype(np.float32).transpose(0, 3, 1, 2)
    answers = session.run(["logits", "features"], {"pixels": pixels})
    return dict(zip(("logits", "features"), answers, strict=True))


def network(engine: str, name: str) -> dict[str, str]:
    return {"target": f"tiny_networks_{engine}:{name}"}


ALL_AT_ONCE = {"whitening": True, "test_time_flip": True, "freeze_backbone": True, "gradient_checkpointing": True}


@pytest.mark.parametrize("name", ["pooled", "cosine", None], ids=["no linear layer", "looks into it", "all settings"])
def test_a_network_becomes_onnx_whatever_it_is_made_of(
    name: str | None, engine: str, made: Callable[..., Made], tmp_path: Path
) -> None:
    ready = made(**(network(engine, name) if name else {"name": "small_cnn", **ALL_AT_ONCE}))
    exported = core_answers(ready, tmp_path / "core.onnx")
    own = ready[0].answers(ready[1], Pictures(), run=ready[2])
    assert own.labels.tolist() == [0, 1, 2, 3, 4]
    for part, found in exported.items():
        wanted = getattr(own, part)
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_of_a_regression_answers_are_in_the_targets_own_units_and_nothing_is_printed(
    engine: str, made: Callable[..., Made], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ready = made("regression", **network(engine, "tiny"))
    predicted = ready[0].predict(ready[1], Pictures(), run=ready[2]).outputs
    capfd.readouterr()
    exported = core_answers(ready, tmp_path / "core.onnx")["logits"]
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.glob("*") if path.name != "run"] == ["core.onnx"]
    assert exported == pytest.approx(predicted, rel=1e-3)
    assert np.abs(exported[:, 0]).mean() > 50 * np.abs(exported[:, 1]).mean()


def test_both_engines_files_are_completed_to_the_same_few_operations(made: Callable[..., Made], tmp_path: Path) -> None:
    engine, config, run = made(name="small_cnn")
    engine.export_onnx(config, tmp_path / "core.onnx", run=run)
    shape = {"mean": config.data.mean, "std": config.data.std, "channels": 3, "height": 16, "width": 16}
    model = complete(onnx.load(tmp_path / "core.onnx"), **shape, task="classification")
    onnx.save(model, tmp_path / "model.onnx")
    found = sorted(node.op_type for node in model.graph.node)
    last = "GlobalMaxPool" if "GlobalMaxPool" in found else "MaxPool"  # of one as large as the picture: the same
    layers = [*["Conv"] * 6, *["Relu"] * 6, *["MaxPool"] * 3, *["BatchNormalization"] * 3, last, "Reshape"]
    around = ["Transpose", "Cast", "Mul", "Add", "Mul", "Gemm", "Softmax"]
    assert found == sorted([*layers, *around])
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    session = Session(tmp_path / "model.onnx")
    predicted = engine.predict(config, Pictures(), run=run).outputs
    assert session.run(PICTURES).output == pytest.approx(predicted, abs=1e-5)
    assert session.run(PICTURES[:1]).output == pytest.approx(predicted[:1], abs=1e-5)


def test_an_operation_that_onnx_has_no_words_for_is_named(
    engine: str, made: Callable[..., Made], tmp_path: Path
) -> None:
    ready = made(**network(engine, "bessel"))
    with pytest.raises(ExportError, match=r"bessel can't become ONNX: .*operation.* (aten\.|prims\.)?\w*i0") as refused:
        ready[0].export_onnx(ready[1], tmp_path / "core.onnx", run=ready[2])
    assert "\n" not in refused.value.message
    assert not (tmp_path / "core.onnx").exists()


def test_a_run_without_a_checkpoint_is_one_message(engine: str, made: Callable[..., Made], tmp_path: Path) -> None:
    ready = made(**network(engine, "tiny"))
    with pytest.raises(RunError, match="no last checkpoint"):
        ready[0].export_onnx(ready[1], tmp_path / "core.onnx", run=ready[2], checkpoint="last")


def test_weights_that_one_file_can_not_hold_are_refused() -> None:
    check_size(2**30)
    with pytest.raises(ExportError, match=r"2\.5 GiB"):
        check_size(5 * 2**29)
