from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

from mlstack.bundle.answers import check_answers
from mlstack.bundle.folder import find_bundle, read_bundle
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.bundle.session import Session
from mlstack.config.export import ExportConfig, QuantizeConfig
from mlstack.errors import ConfigError, DataError, ExportError, MLStackError, OutputError
from mlstack.export import model_card
from mlstack.export.own_model import export_own

SIZE, CLASSES = 12, ("cat", "dog", "cow", "hen")
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


@pytest.fixture(autouse=True)
def _measured_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_card, "MEASURED_S", 0.02)


@dataclass(frozen=True)
class Net:
    """What somebody's classifier looks like: convolution, mean over the picture, linear layer.

    Attributes:
        batch: A number, or a name for any.
        shape: What a Reshape before the linear layer asks for; None = Flatten.
        dims: What its input says instead of the true dimensions.
    """

    batch: int | str = "N"
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    channels: int = 3
    channel_last: bool = False
    softmax: bool = False
    head: str = "Gemm"
    opset: int = 17
    dims: tuple[int | str, ...] | None = None
    outputs: tuple[str, ...] = ("answer",)
    inputs: tuple[str, ...] = ()

    def save(self, path: Path, **how: Any) -> Path:
        """Write it; weights follow from a seed."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        draws = np.random.default_rng(3)
        sizes = {"stem": (8, self.channels, 3, 3), "weight": (8, len(CLASSES)), "bias": (len(CLASSES),)}
        weights = {name: (draws.normal(size=size)).astype(self.dtype) for name, size in sizes.items()}
        if self.shape is not None:
            weights["shape"] = np.array(self.shape, np.int64)
        size = (SIZE, SIZE, self.channels) if self.channel_last else (self.channels, SIZE, SIZE)
        graph = helper.make_graph(
            self._nodes(),
            "theirs",
            [
                helper.make_tensor_value_info("x", kind, list(self.dims or (self.batch, *size))),
                *(helper.make_tensor_value_info(name, kind, [1]) for name in self.inputs),
            ],
            [helper.make_tensor_value_info(name, kind, [self.batch, len(CLASSES)]) for name in self.outputs],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        imports = [helper.make_opsetid("", self.opset)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path, **how)
        return path

    def _nodes(self) -> list[onnx.NodeProto]:
        nodes = [helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2])] if self.channel_last else []
        nodes += [
            helper.make_node("Conv", ["first" if self.channel_last else "x", "stem"], ["seen"], name="stem_conv"),
            helper.make_node("Relu", ["seen"], ["positive"]),
            helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        ]
        if self.shape is None:
            nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
        else:
            nodes.append(helper.make_node("Reshape", ["pooled", "shape"], ["flat"]))
        score = "score" if self.softmax else self.outputs[0]
        if self.head == "Gemm":
            nodes.append(helper.make_node("Gemm", ["flat", "weight", "bias"], [score], name="head"))
        elif self.head == "MatMul":
            nodes.append(helper.make_node("MatMul", ["flat", "weight"], ["product"], name="head"))
            nodes.append(helper.make_node("Add", ["product", "bias"], [score]))
        else:  # no linear layer at the end
            nodes.append(helper.make_node("Gemm", ["flat", "weight", "bias"], ["linear"]))
            nodes.append(helper.make_node("Tanh", ["linear"], [score]))
        if self.softmax:
            nodes.append(helper.make_node("Softmax", [score], [self.outputs[0]], axis=1))
        nodes += [helper.make_node("Identity", [self.outputs[0]], [name]) for name in self.outputs[1:]]
        return nodes


Export = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten pictures, each in the folder of a class."""
    draws = np.random.default_rng(5)
    for index in range(10):
        path = tmp_path / "photos" / CLASSES[index % 4] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def class_file(tmp_path: Path) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(CLASSES) + "\n\n", encoding="utf-8")
    return path


@pytest.fixture
def export(tmp_path: Path, photos: Path, class_file: Path) -> Export:
    """`export(Net(batch=1), color="bgr")` → the bundle's folder."""

    def run(net: Net | Path, **keys: Any) -> Path:
        path = net.save(tmp_path / "theirs.onnx") if isinstance(net, Net) else net
        config = ExportConfig(
            onnx=str(path),
            output_dir=str(tmp_path / "outputs"),
            images=[str(photos)],
            classes=str(class_file),
            mean=MEAN,
            std=STD,
            resize="stretch",
            answers="probabilities" if isinstance(net, Net) and net.softmax else "logits",
        )
        return export_own(replace(config, **keys))

    return run


def theirs(path: Path, net: Net, images: NDArray[np.uint8], *, bgr: bool) -> NDArray[np.float64]:
    """Probabilities as a user of the file itself would compute them, one picture at a time."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    mean, std = (MEAN, STD) if net.channels == 3 else (MEAN[:1], STD[:1])
    rows = []
    for image in images:
        pixels = (image[:, :, ::-1] if bgr else image) / 255.0
        pixels = (pixels - mean) / std
        if not net.channel_last:
            pixels = pixels.transpose(2, 0, 1)
        batch = np.stack([pixels] * (net.batch if isinstance(net.batch, int) else 1)).astype(net.dtype)
        row = session.run(None, {"x": batch})[0][0].astype(np.float64)
        rows.append(row if net.softmax else np.exp(row) / np.exp(row).sum())
    return np.stack(rows)


def pictures(count: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (count, SIZE, SIZE, channels), np.uint8)


VARIANTS = {
    "any batch": Net(),
    "batch 1": Net(batch=1),
    "batch 1 in a Reshape": Net(batch=1, shape=(1, -1)),
    "batch 4 in a Reshape": Net(batch=4, shape=(4, 8)),
    "channel last": Net(batch=1, shape=(1, 8), channel_last=True),
    "half": Net(dtype="float16"),
    "grey": Net(channels=1),
    "old opset": Net(opset=9),
    "probabilities": Net(softmax=True, head="MatMul"),
    "any size": Net(dims=("N", 3, "h", "w")),
    "named dimensions, channel last": Net(channel_last=True, dims=("N", "h", "w", 3)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_wrapped_classifier_answers_as_it_did_for_any_batch_and_tells_what_its_head_sees(
    name: str, export: Export, tmp_path: Path
) -> None:
    net = VARIANTS[name]
    one = {"mean": MEAN[:1], "std": STD[:1]} if net.channels == 1 else {}
    bundle = read_bundle(export(net, **one, color="bgr" if name == "any batch" else "rgb", image_size=SIZE))
    images = pictures(5, net.channels)
    answers = Session(bundle.model()).run(images)
    expected = theirs(tmp_path / "theirs.onnx", net, images, bgr=name == "any batch")
    assert answers.output == pytest.approx(expected, abs=2e-3 if net.dtype == "float16" else 1e-5)
    assert (bundle.metadata.batch, bundle.metadata.classes) == (None, CLASSES)
    assert answers.features.shape == (5, 8)
    assert bundle.metadata.source["features"] == "what head sees"


def test_a_batch_that_cannot_change_is_kept_and_said(export: Export, tmp_path: Path) -> None:
    net = Net(batch=1, shape=(8,))
    path = net.save(tmp_path / "vector.onnx")
    model = onnx.load(path)
    head = next(node for node in model.graph.node if node.name == "head")
    row = helper.make_node("Reshape", ["flat", "one_row"], ["row"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 8]), "one_row"))
    model.graph.node.insert(list(model.graph.node).index(head), row)
    head.input[0] = "row"
    onnx.save(model, path)
    bundle = read_bundle(export(path))
    assert bundle.metadata.batch == 1
    images = pictures(3)
    assert Session(bundle.model()).run(images).output == pytest.approx(theirs(path, net, images, bgr=False), abs=1e-5)
    assert "It takes 1 picture(s) a call" in (bundle.path / "README.md").read_text(encoding="utf-8")


def test_without_a_last_linear_layer_the_answers_are_the_features(export: Export) -> None:
    bundle = read_bundle(export(Net(head="Tanh")))
    answers = Session(bundle.model()).run(pictures(2))
    assert answers.features.shape == (2, 4)
    assert np.exp(answers.features) / np.exp(answers.features).sum(1, keepdims=True) == pytest.approx(answers.output)
    assert bundle.metadata.source["features"] == "none: the answers stand in for them"


def test_weights_in_a_file_of_their_own_come_into_the_bundle(export: Export, tmp_path: Path) -> None:
    path = Net().save(tmp_path / "big.onnx", save_as_external_data=True, location="big.weights", size_threshold=0)
    inside = Net().save(tmp_path / "inside.onnx")
    bundle = export(path)
    (tmp_path / "big.weights").unlink()
    images = pictures(4)
    assert sorted(file.name for file in bundle.glob("model*")) == ["model.onnx"]
    answers = Session(bundle / "model.onnx").run(images).output
    assert answers == pytest.approx(theirs(inside, Net(), images, bgr=False), abs=1e-5)
    with pytest.raises(ExportError, match=r"its weights lie in another file.*big\.weights"):
        export(path)


def test_latest_finds_the_bundle_and_it_verifies(export: Export, tmp_path: Path) -> None:
    folder = export(Net(), name="my net")
    assert folder == tmp_path / "outputs" / "own" / "my-net" / "bundle"
    assert find_bundle("latest", output_dir=tmp_path / "outputs") == folder
    assert all(check.passed for check in check_answers(read_bundle(folder)))


def test_folders_with_the_names_of_classes_are_labels(export: Export, tmp_path: Path, photos: Path) -> None:
    bundle = read_bundle(export(Net()))
    files = sorted(photos.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    likeliest = theirs(tmp_path / "theirs.onnx", Net(), images, bgr=False).argmax(axis=1)
    right = [CLASSES[index] == file.parent.name for index, file in zip(likeliest, files, strict=True)]
    assert bundle.metadata.models[0].metrics["val"]["accuracy"] == pytest.approx(np.mean(right))
    assert 0 < np.mean(right) < 1


def test_classes_are_counted_over_all_pictures_that_were_given(export: Export, tmp_path: Path, photos: Path) -> None:
    bundle = read_bundle(export(Net()))
    images = np.stack([np.asarray(Image.open(file)) for file in sorted(photos.rglob("*.png"))])
    likeliest = theirs(tmp_path / "theirs.onnx", Net(), images, bgr=False).argmax(axis=1)
    reference = read_reference(bundle.path / REFERENCE, bundle.metadata)
    assert reference.class_counts.tolist() == np.bincount(likeliest, minlength=len(CLASSES)).tolist()
    assert reference.counted == len(images)


def test_a_folder_of_another_name_makes_pictures_without_labels(export: Export, photos: Path) -> None:
    (photos / "cat").rename(photos / "tiger")
    assert read_bundle(export(Net())).metadata.models[0].metrics == {}


def test_without_pictures_random_ones_are_compared_and_the_bundle_says_so(
    export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = read_bundle(export(Net(), images=[]))
    assert bundle.metadata.parity["source"] == "64 random pictures of seed 0"
    assert "64 random pictures of seed 0, without labels" in capsys.readouterr().out


def test_int8_is_calibrated_on_pictures_that_it_is_not_judged_by(
    export: Export, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "cat").rename(photos / "tiger")
    bundle = read_bundle(export(Net(), quantize=QuantizeConfig(mode="int8", max_drop=100)))
    small = bundle.metadata.models[1]
    assert (small.precision, small.file) == ("int8", "model.int8.onnx")
    assert small.details["calibration"]["images"] == 5
    assert bundle.metadata.parity["images"] == 5
    assert small.details["judged_by"] == "the same class as model.onnx"
    assert 0 <= small.details["agreement"] <= 1
    assert "judged by how often the class stays the same" in capsys.readouterr().out
    assert all(check.passed for check in check_answers(bundle))


def test_a_bundle_that_would_answer_otherwise_is_not_written_and_the_old_one_stays(
    export: Export, tmp_path: Path
) -> None:
    before = read_bundle(export(Net())).metadata
    with pytest.raises(ExportError, match=r"would not answer as .*theirs\.onnx does on 10 pictures: .*allowed 1e-30"):
        export(Net(), max_error=1e-30)
    assert read_bundle(find_bundle("latest", output_dir=tmp_path / "outputs")).metadata == before


def test_a_folder_that_is_no_bundle_is_not_replaced(export: Export, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="not a whole bundle"):
        export(Net(), output=str(tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def wrong_classes(path: Path, text: bytes) -> dict[str, Any]:
    (path / "wrong.txt").write_bytes(text)
    return {"classes": str(path / "wrong.txt")}


MISTAKES: dict[str, tuple[Net | bytes | None, dict[str, Any], type[MLStackError], str]] = {
    "no file": (None, {}, ExportError, "no such file"),
    "a text": (b"no model at all", {}, ExportError, "not an ONNX file"),
    "an empty file": (b"", {}, ExportError, "not an ONNX file"),
    "two inputs": (Net(inputs=("y",)), {}, ExportError, r"2 inputs: x float32 \[N, 3, 12, 12\], y float32 \[1\]"),
    "two outputs": (Net(outputs=("a", "b")), {}, ExportError, r"2 outputs: a float32 \[N, 4\], b float32 \[N, 4\]"),
    "float64": (Net(dtype="float64"), {}, ExportError, r"its input is x double \[N, 3, 12, 12\]"),
    "rank 2": (Net(dims=("N", 3)), {}, ExportError, r"the ONNX checker refuses it|its input is x float32 \[N, 3\]"),
    "five channels": (Net(channels=5), {}, ExportError, r"\[\?, 5, 12, 12\] has 5 channels"),
    "no squares": (Net(dims=("N", 3, 12, 14)), {}, ExportError, "takes 12 × 14 pixels"),
    "another size": (Net(), {"image_size": 13}, ConfigError, "image_size=13, but .* takes 12 × 12 pixels"),
    "size unknown": (Net(dims=("N", 3, "h", "w")), {}, ConfigError, "takes pictures of any size"),
    "grey mean": (Net(), {"mean": [0.5], "std": [0.5]}, ConfigError, "are for 1 channels, and .* takes 3"),
    "logits": (Net(), {"answers": "probabilities"}, ExportError, "don't sum to 1"),
    "probabilities": (Net(softmax=True), {"answers": "logits"}, ExportError, "are probabilities: each row sums to 1"),
    "no pictures": (Net(), {"images": ["nowhere/*.jpg"]}, DataError, r"images=nowhere/\*\.jpg: no such file"),
    "no class file": (
        Net(),
        {"classes": "nowhere.txt"},
        ExportError,
        "classes=nowhere.txt can't be read: No such file",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_wrapped_is_refused_in_a_line_and_nothing_is_written(
    name: str, export: Export, tmp_path: Path
) -> None:
    net, keys, kind, message = MISTAKES[name]
    given: Net | Path = tmp_path / "given.onnx" if not isinstance(net, Net) else net
    if isinstance(net, bytes):
        (tmp_path / "given.onnx").write_bytes(net)
    with pytest.raises(kind, match=message) as caught:
        export(given, **keys)
    assert len(str(caught.value).splitlines()) <= 4
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"cat\ndog\ncow\n", "names 3 classes, and the model answers with 4 numbers"),
        (b"cat\n\ndog\ncow\nhen\n", "line 2 is empty"),
        ("cat\ndog\ncow\nhén\n".encode("latin-1"), "it is not UTF-8"),
    ],
)
def test_a_file_of_class_names_that_does_not_fit_is_refused(
    text: bytes, message: str, export: Export, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        export(Net(), **wrong_classes(tmp_path, text))
