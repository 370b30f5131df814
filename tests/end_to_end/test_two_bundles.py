"""A/B, canary, shadow, drift and the journal, through a running service with two trained models.

Both learnt the digits; for one of them the labels of the odd digits were wrong.
"""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from running_service import RunningService, running

from mlstack.commands.export import export
from mlstack.commands.train import train
from mlstack.config.export import ExportConfig
from mlstack.config.trainer import ENGINES
from mlstack.datasets import load_dataset
from mlstack.runs import find_run

from ..conftest import configuration

pytestmark = pytest.mark.framework

SETTINGS: dict[str, Any] = {
    "data__batch_size": 32,
    "model__args": {"width": 16},
    "trainer__max_epochs": 4,
    "trainer__log_every_n_steps": 10,
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `good` and `bad`, a bundle each."""
    root = tmp_path_factory.mktemp("two")
    data = {"good": {"data__name": "digits", "data__target": None}, "bad": {"data__target": "few_digits:corrupted"}}
    for name, source in data.items():
        outputs = root / "outputs" / name
        train(configuration(outputs, ENGINES[0], **SETTINGS, **source))
        export(ExportConfig(run=str(find_run("latest", output_dir=outputs).path), output=str(root / "models" / name)))
    return root / "models"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures uint8 [n, 8, 8, 1] and labels that neither model has learnt from, in an order of their own."""
    data = configuration(tmp_path_factory.mktemp("none"), ENGINES[0], data__name="digits", data__target=None).data
    splits = load_dataset(data).splits
    pictures = np.concatenate([splits[name].images.read(np.arange(len(splits[name]))) for name in ("val", "test")])
    labels = np.concatenate([splits[name].labels for name in ("val", "test")])
    order = np.random.default_rng(0).permutation(len(labels))
    return pictures[order], labels[order]


class Asking:
    """Sends pictures one by one on one connection, and the true label of each after its answer."""

    def __init__(self, service: RunningService) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def post(self, path: str, body: bytes, kind: str, **headers: str) -> Any:
        self.connection.request("POST", path, body, {"content-type": kind, **headers})
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)

    def ask(self, pictures: NDArray[np.uint8], labels: Sequence[int], *, feedback: bool = True) -> Iterator[Any]:
        for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            told = self.post("/predict", picture.tobytes(), "application/octet-stream", **{"x-user-id": f"u{number}"})
            if feedback:
                true = json.dumps({"request_id": told["request_id"], "label": str(label)}).encode()
                self.post("/feedback", true, "application/json")
            yield told


@pytest.fixture
def many(digits: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A few thousand pictures, each of the unseen ones several times."""
    pictures, labels = digits
    return np.tile(pictures, (9, 1, 1, 1)), np.tile(labels, 9)


def test_an_ab_test_finds_the_better_model_by_its_true_labels(bundles: Path, many: Any) -> None:
    words = (f"bundle=[{bundles / 'good'},{bundles / 'bad'}]", "serve.split={good:50,bad:50}")
    with running(*words, "serve.access_log=false") as service, Asking(service) as asking:
        arms = [told["model"] for told in asking.ask(many[0][:600], many[1][:600])]
        again = [told["model"] for told in asking.ask(many[0][:50], many[1][:50], feedback=False)]
        status = service.get("/experiments").json["experiment"]
    assert again == arms[:50]  # a user stays with a model
    assert 0.4 < arms.count("good") / len(arms) < 0.6
    good, bad = (status["arms"][arm]["accuracy"] for arm in ("good", "bad"))
    assert good["low"] > bad["high"]  # the intervals, which hold however often one looks, don't touch
    assert good["value"] > 0.8 > 0.7 > bad["value"]


def test_a_canary_that_learnt_wrong_labels_is_rolled_back(bundles: Path, many: Any) -> None:
    words = (f"bundle=[{bundles / 'good'},{bundles / 'bad'}]", "serve.canary=bad", "serve.rollout.steps=[20,100]")
    with running(*words, "serve.rollout.step_seconds=3600") as service, Asking(service) as asking:
        for told in asking.ask(*many):
            if told["model"] == "bad" and service_share(service, "bad") == 0:
                break
        status = service.get("/experiments").json["experiment"]
        metrics = service.get("/metrics").body.decode()
        later = {told["model"] for told in asking.ask(many[0][:200], many[1][:200])}
        by_hand = service.post("/admin/canary", {"action": "share", "percent": 50}).json
    assert status["canary"]["state"] == "rolled_back"
    [decision] = status["decisions"]
    assert (decision["kind"], decision["from"], decision["to"]) == ("rolled_back", 20, 0)
    assert "wrong" in decision["reason"]
    assert 'experiment_decisions_total{kind="rolled_back"} 1.0' in metrics
    assert 'experiment_share{model="bad"} 0.0' in metrics
    assert [event["kind"] for event in service.events("canary")] == ["rolled_back", "share_set"]
    assert later == {"good"}
    assert (by_hand["kind"], by_hand["to"]) == ("share_set", 50)


def service_share(service: RunningService, arm: str) -> float:
    return float(service.get("/experiments").json["experiment"]["arms"][arm]["share"])


def test_a_canary_as_good_as_the_stable_model_takes_over_step_by_step(bundles: Path, many: Any, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(bundles / "good", twin)
    rollout = ("serve.rollout.step_requests=60", "serve.rollout.step_seconds=0", "serve.rollout.steps=[25,50,100]")
    with (
        running(f"bundle=[{bundles / 'good'},{twin}]", "serve.canary=twin", *rollout) as service,
        Asking(service) as asking,
    ):
        arms = [told["model"] for told in asking.ask(many[0][:900], many[1][:900])]
        status = service.get("/experiments").json["experiment"]
    assert [one["kind"] for one in status["decisions"]] == ["advanced", "promoted"]
    assert set(arms[-50:]) == {"twin"}


def test_a_shadow_is_compared_and_never_answers(bundles: Path, many: Any) -> None:
    with (
        running(f"bundle=[{bundles / 'good'},{bundles / 'bad'}]", "serve.shadow=bad") as service,
        Asking(service) as asking,
    ):
        arms = {told["model"] for told in asking.ask(many[0][:200], many[1][:200], feedback=False)}
        shadow = service.get("/experiments").json["shadow"]
    assert arms == {"good"}
    assert shadow["pictures"] + shadow["dropped"] >= 190  # the newest are still on their way
    assert 0.3 < shadow["agreement"]["value"] < 0.8


def test_drift_is_found_within_500_pictures_and_not_before(bundles: Path, many: Any, tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.jsonl"
    words = (f"bundle={bundles / 'good'}", "serve.drift.images_per_s=100000", f"serve.alerts.file={alerts}")
    with running(*words, "serve.alerts.confidence=null") as service, Asking(service) as asking:
        list(asking.ask(many[0][:800], many[1][:800], feedback=False))
        before = service.get("/drift").json["models"]["good"]
        brighter = np.minimum(many[0][:500].astype(np.uint16) * 6 // 5 + 20, 255).astype(np.uint8)
        list(asking.ask(brighter, many[1][:500], feedback=False))
        after = wait_for(lambda: service.get("/drift").json["models"]["good"], lambda told: told["drifting"])
        active = wait_for(lambda: service.get("/alerts").json["alerts"], bool)
        assert 'inference_drift{model="good"} 1.0' in service.get("/metrics").body.decode()
        service.stop()
    assert not before["drifting"]
    assert "brightness" in " ".join(test["name"] for test in after["tests"] if test["drifting"])
    assert "drift:good" in [alert["name"] for alert in active]
    assert "drift:good" in [json.loads(line)["name"] for line in alerts.read_text().splitlines()]


def wait_for(look: Any, enough: Any) -> Any:
    """What `look` sees as soon as it is enough, or in the end: checks run beside the requests."""
    import time

    for _ in range(50):
        if enough(seen := look()):
            return seen
        time.sleep(0.1)
    return seen


def test_what_was_served_and_corrected_is_trained_on(bundles: Path, digits: Any, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    kept = ("serve.journal.fraction=1", f"serve.journal.folder={journal}")
    with running(f"bundle={bundles / 'bad'}", *kept) as service, Asking(service) as asking:
        list(asking.ask(*digits))
        assert service.stop() == 0
    source = {"data__name": "journal", "data__path": str(journal), "data__target": None}
    train(configuration(tmp_path / "outputs", ENGINES[0], **SETTINGS, **source))
    results = find_run("latest", output_dir=tmp_path / "outputs").read_results()
    assert sum(results["data"]["images"].values()) == len(digits[1])
    assert results["metrics"]["test"]["accuracy"] > 0.5
