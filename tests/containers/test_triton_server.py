"""A real tritonserver loads what `export.py target=triton` wrote, and answers as our own server does.

What is real: the server (NVIDIA's release 2.51, on the CPU), both protocols, config.pbtxt, batching, labels, warm-up.
What is not: its ONNX Runtime back end, which PyPI does not carry. `own_code/triton_onnxruntime.py` stands in for it:
the ONNX Runtime of the same version (1.19.2), in Python. The back end of NVIDIA's image and GPUs are not run here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpc
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from open_inference_http import Answers, infer, refusal, statistics
from oracles import sections
from PIL import Image
from running_service import RunningService, running
from running_triton import ENVIRONMENT, RunningTriton, running_triton
from tritonclient.utils import InferenceServerException
from whole_bundle import pictures as noise
from whole_bundle import write_whole_bundle

from mlstack.bundle.answers import ALLOWED
from mlstack.bundle.folder import read_bundle
from mlstack.bundle.session import EXACT_INT8, Session, SessionAnswers
from mlstack.config.export import ExportConfig
from mlstack.export.targets import convert
from mlstack.export.targets.triton_config import INSTANCES, MAX_BATCH, PREFERRED
from mlstack.utils.hardware import cpu_flags

ROOT = Path(__file__).parents[2]
README = ROOT / "deploy" / "triton" / "README.md"
# As Triton calls them; our own server has one of them at a time, under the bundle's name. int8 is the default.
MODEL, INT8, BUNDLE = "squares-fp32", "squares", "squares"
NEAR = 1e-6
ODD = ("a: b", "猫 'and' \"dog\"", "two\nlines")


def digits(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Noise, uint8 [count, 8, 8, 1]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), np.uint8)


def save_network(path: Path) -> None:
    """Somebody's own classifier: float32 [n, 1, 8, 8] → logits of ten classes."""
    draws = np.random.default_rng(3)
    sizes = {"kernel": (8, 1, 3, 3), "head": (10, 8)}
    weights = [numpy_helper.from_array(draws.normal(size=size).astype("f4"), name) for name, size in sizes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["seen"]),
        helper.make_node("Relu", ["seen"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head"], ["logits"], transB=1),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10]),
    ]
    graph = helper.make_graph(nodes, "squares", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real command has written `bundle/`, of two models, and `targets/triton/` from it."""
    folder = tmp_path_factory.mktemp("exported")
    save_network(folder / "squares.onnx")
    (folder / "photos").mkdir()
    for place, image in enumerate(digits(12, seed=5)):
        Image.fromarray(image[..., 0]).save(folder / "photos" / f"{place}.png")
    words = [
        *("onnx=squares.onnx", "mean=[0.5]", "std=[0.25]", "images=photos", "output=bundle", "version=v7"),
        *("target=triton", "quantize.mode=int8", "quantize.max_drop=100"),
    ]
    program = [sys.executable, ROOT / "scripts" / "export.py", *words]
    answer = subprocess.run(program, cwd=folder, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Session]:
    """Bundles that a run does not give: name → the bundle's own file, with `repository/` beside it."""
    folder = tmp_path_factory.mktemp("others")
    kinds: dict[str, dict[str, Any]] = {
        "four": {"batch": 4},
        "labels": {"task": "multilabel", "classes": ODD},
        "prices": {"task": "regression", "output": "values"},
    }
    sessions = {}
    for name, changes in kinds.items():
        bundle = read_bundle(write_whole_bundle(folder / name / "bundle", name=name, **changes))
        convert("triton", bundle=bundle, run=None, images=noise(0), config=ExportConfig())
        sessions[name] = Session(bundle.model())
    return sessions


@pytest.fixture(scope="module")
def triton(
    folder: Path, others: dict[str, Session], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTriton]:
    home = tmp_path_factory.mktemp("triton")
    repository = shutil.copytree(folder / "targets" / "triton", home / "repository")
    for name, session in others.items():
        shutil.copytree(session.path.parents[1] / "targets" / "triton" / name, repository / name)
    with running_triton(repository, home / "backends") as server:
        yield server


@pytest.fixture(scope="module")
def warmed_up(triton: RunningTriton) -> dict[str, int]:
    """Images that each model had answered when the server became ready. The first fixture that asks it."""
    return {name: statistics(triton.url, name)["inference_count"] for name in (MODEL, INT8, "four")}


@pytest.fixture(scope="module")
def ours(folder: Path) -> Iterator[RunningService]:
    with running(f"bundle={folder / 'bundle'}", "serve.precision=fp32") as service:
        yield service


@pytest.fixture(scope="module")
def ours_in_int8(folder: Path) -> Iterator[RunningService]:
    with running(f"bundle={folder / 'bundle'}") as service:
        yield service


@pytest.fixture
def client(triton: RunningTriton) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(f"127.0.0.1:{triton.grpc}") as client:
        yield client


def tensor(images: NDArray[np.uint8]) -> grpc.InferInput:
    one = grpc.InferInput("images", list(images.shape), "UINT8")
    one.set_data_from_numpy(images)
    return one


def test_every_model_was_warmed_up_before_the_server_was_ready(warmed_up: dict[str, int]) -> None:
    each = INSTANCES * (1 + PREFERRED[0])
    assert warmed_up == {MODEL: each, INT8: each, "four": INSTANCES}


@pytest.mark.parametrize("count", [1, 3, 17])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_over_http_it_answers_as_our_own_server_does(
    warmed_up: dict[str, int], triton: RunningTriton, ours: RunningService, count: int, binary: bool
) -> None:
    images = digits(count, seed=count)
    theirs = infer(triton.url, MODEL, images, binary=binary)
    own = infer(ours.url, BUNDLE, images, binary=binary)
    assert theirs["probabilities"].shape == (count, 10)
    for name in ("probabilities", "features"):
        np.testing.assert_allclose(theirs[name], own[name], rtol=0, atol=NEAR)


@pytest.mark.parametrize("count", [1, 3, 17])
def test_over_grpc_it_answers_as_our_own_server_does(
    client: grpc.InferenceServerClient, ours: RunningService, count: int
) -> None:
    images = digits(count, seed=count)
    theirs, own = client.infer(MODEL, [tensor(images)]), infer(ours.url, BUNDLE, images)
    for name in ("probabilities", "features"):
        np.testing.assert_allclose(theirs.as_numpy(name), own[name], rtol=0, atol=NEAR)


def test_its_probabilities_are_those_of_our_own_predict(
    triton: RunningTriton, ours: RunningService, folder: Path
) -> None:
    images = digits(17)
    body = {"inputs": images.tolist()}
    rows = [one["probabilities"] for one in ours.post("/predict?top_k=10", body).json["predictions"]]
    expected = [[row[name] for name in read_bundle(folder / "bundle").metadata.classes] for row in rows]
    np.testing.assert_allclose(infer(triton.url, MODEL, images)["probabilities"], expected, rtol=0, atol=NEAR)


def test_the_model_in_8_bits_answers_as_our_own_server_does(
    triton: RunningTriton, ours_in_int8: RunningService, folder: Path
) -> None:
    images = digits(17)
    theirs, own = infer(triton.url, INT8, images), infer(ours_in_int8.url, BUNDLE, images)
    # Elsewhere our server asks ONNX Runtime for exact sums, which Triton's back end can't.
    allowed = NEAR if cpu_flags() & EXACT_INT8 else ALLOWED["int8"]
    np.testing.assert_allclose(theirs["probabilities"], own["probabilities"], rtol=0, atol=allowed)
    exact = Session(folder / "bundle" / "model.onnx").run(images)
    assert np.abs(theirs["probabilities"] - exact.output).max() > NEAR


@pytest.mark.parametrize("over_grpc", [False, True], ids=["http", "grpc"])
def test_the_classification_extension_names_the_classes(
    triton: RunningTriton, client: grpc.InferenceServerClient, over_grpc: bool
) -> None:
    images = digits(3)
    if over_grpc:
        wanted = [grpc.InferRequestedOutput("probabilities", class_count=2)]
        told = client.infer(MODEL, [tensor(images)], outputs=wanted).as_numpy("probabilities").astype(str)
    else:
        told = infer(triton.url, MODEL, images, binary=False, classes=2)["probabilities"]
    numbers = infer(triton.url, MODEL, images)["probabilities"]
    for row, likeliest in zip(told, np.argsort(-numbers, axis=1)[:, :2], strict=True):
        parts = [text.split(":", 2) for text in row]
        assert [(int(index), name) for _, index, name in parts] == [(index, f"class_{index}") for index in likeliest]


def test_class_names_may_hold_anything(triton: RunningTriton, others: dict[str, Session]) -> None:
    image = noise(1)
    [row] = infer(triton.url, "labels", image, binary=False, classes=3)["probabilities"]
    named = {int(index): name for _, index, name in (text.split(":", 2) for text in row)}
    assert named == {0: "a: b", 1: "猫 'and' \"dog\"", 2: "two lines"}
    own = others["labels"].run(image).output[0]
    assert [float(text.split(":")[0]) for text in row] == pytest.approx(sorted(own, reverse=True), abs=NEAR)


def test_requests_at_the_same_time_share_a_batch(triton: RunningTriton, client: grpc.InferenceServerClient) -> None:
    images = digits(64)
    expected = infer(triton.url, MODEL, images)["probabilities"]
    before = statistics(triton.url, MODEL)
    arrived: Queue[tuple[int, grpc.InferResult | None]] = Queue()
    for place in range(64):
        client.async_infer(
            MODEL, [tensor(images[[place]])], lambda result, error, place=place: arrived.put((place, result))
        )
    answers = dict(arrived.get(timeout=30) for _ in range(64))
    after = statistics(triton.url, MODEL)
    calls = after["execution_count"] - before["execution_count"]
    assert after["inference_count"] - before["inference_count"] == 64
    assert calls < 64
    print(f"64 requests of one picture at once: {calls} calls of the model")
    for place, answer in answers.items():  # each request gets its own row of the batch
        assert answer is not None
        np.testing.assert_allclose(answer.as_numpy("probabilities"), expected[[place]], rtol=0, atol=NEAR)


def test_a_fixed_batch_is_taken_whole_and_nothing_else(triton: RunningTriton, others: dict[str, Session]) -> None:
    images = noise(4)
    near(infer(triton.url, "four", images), others["four"].run(images))
    status, reason = refusal(triton.url, "four", noise(3))
    assert (status, "Expected [4,8,8,1], got [3,8,8,1]" in reason) == (400, True), reason


def test_a_regression_answers_values(triton: RunningTriton, others: dict[str, Session]) -> None:
    answers = infer(triton.url, "prices", noise(3))
    assert set(answers) == {"values", "features"}
    np.testing.assert_allclose(answers["values"], others["prices"].run(noise(3)).output, rtol=0, atol=NEAR)


def test_another_shape_is_refused_over_both_protocols(
    triton: RunningTriton, client: grpc.InferenceServerClient
) -> None:
    wrong = np.zeros((1, 2, 2, 1), np.uint8)
    status, reason = refusal(triton.url, MODEL, wrong)
    assert (status, "Expected [-1,8,8,1], got [1,2,2,1]" in reason) == (400, True), reason
    with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.* unexpected shape"):
        client.infer(MODEL, [tensor(wrong)])


def test_more_pictures_than_a_batch_holds_are_refused(triton: RunningTriton) -> None:
    assert len(infer(triton.url, MODEL, digits(MAX_BATCH))["features"]) == MAX_BATCH
    status, reason = refusal(triton.url, MODEL, digits(MAX_BATCH + 1))
    assert (status, f"batch-size must be <= {MAX_BATCH}" in reason) == (400, True), reason


def test_the_server_says_which_version_of_the_bundle_it_has(triton: RunningTriton, folder: Path) -> None:
    with urlopen(f"{triton.url}/v2/models/{MODEL}/config", timeout=30) as answer:
        config = json.load(answer)
    assert config["parameters"]["bundle_version"]["string_value"] == read_bundle(folder / "bundle").metadata.version
    assert [one["kind"] for one in config["instance_group"]] == ["KIND_CPU"]  # KIND_AUTO, where no GPU is


def test_its_metrics_count_the_answers(triton: RunningTriton) -> None:
    infer(triton.url, MODEL, digits(2))
    with urlopen(f"http://127.0.0.1:{triton.metrics}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    for name in re.findall(r"`(nv_\w+)`", README.read_text(encoding="utf-8")):
        assert f'{name}{{model="{MODEL}"' in text, name
    [count] = re.findall(rf'^nv_inference_count{{model="{MODEL}",version="1"}} (\d+)$', text, re.MULTILINE)
    assert int(count) >= 2


def test_the_request_in_its_readme_is_answered(triton: RunningTriton, folder: Path) -> None:
    text = (folder / "targets" / "triton" / "README.md").read_text(encoding="utf-8")
    [start, request] = re.findall(r"^```bash\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    assert "8000:8000" in start
    program = request.replace("127.0.0.1:8000", f"127.0.0.1:{triton.http}")
    answer = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    shapes = {one["name"]: one["shape"] for one in json.loads(answer.stdout)["outputs"]}
    assert shapes == {"probabilities": [1, 10], "features": [1, 8]}


def test_the_stand_in_is_of_the_version_that_this_release_of_triton_has(triton: RunningTriton) -> None:
    [pin] = [pin.partition("==")[2] for pin in sections()[ENVIRONMENT].pins if pin.startswith("onnxruntime")]
    lines = {line.strip() for line in triton.log if line.startswith("stand-in")}
    assert lines == {f"stand-in for the back end: ONNX Runtime {pin}"}


def test_version_2_takes_over_and_can_be_taken_back(tmp_path: Path) -> None:
    for version, seed in (("v1", 0), ("v2", 1)):
        bundle = read_bundle(write_whole_bundle(tmp_path / version / "bundle", seed=seed))
        convert("triton", bundle=bundle, run=None, images=noise(0), config=ExportConfig())
    first, second = (Session(tmp_path / version / "bundle" / "model.onnx") for version in ("v1", "v2"))
    repository, images = tmp_path / "v1" / "targets" / "triton", noise(3)
    options = ("--model-control-mode=explicit", "--load-model=*")
    with running_triton(repository, tmp_path / "backends", *options) as server:
        near(infer(server.url, "tiny", images), first.run(images))
        shutil.copytree(tmp_path / "v2" / "targets" / "triton" / "tiny" / "1", repository / "tiny" / "2")
        load(server.url, "tiny")
        near(infer(server.url, "tiny", images), second.run(images))
        shutil.rmtree(repository / "tiny" / "2")
        load(server.url, "tiny")
        near(infer(server.url, "tiny", images), first.run(images))


def load(url: str, model: str) -> None:
    """Let Triton look at a model's folder again; it answers once the model is loaded and warm."""
    with urlopen(Request(f"{url}/v2/repository/models/{model}/load", b"{}"), timeout=60) as answer:
        assert answer.status == 200


def near(theirs: Answers, own: SessionAnswers) -> None:
    np.testing.assert_allclose(theirs["probabilities"], own.output, rtol=0, atol=NEAR)
    np.testing.assert_allclose(theirs["features"], own.features, rtol=0, atol=NEAR)
