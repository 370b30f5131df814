from __future__ import annotations

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from mlstack.serving.metrics import Metrics, memory_bytes

LABELS = {
    "inference_requests": {"model", "status"},
    "inference_rejections": {"reason"},
    "inference_images": {"model"},
    "inference_failures": {"model"},
    "inference_feedback": {"model", "right"},
    "experiment_decisions": {"kind"},
    "model_reloads": {"model", "result"},
    "inference_latency_seconds": {"model"},
    "inference_queue_seconds": {"model"},
    "inference_decode_seconds": {"model"},
    "inference_model_seconds": {"model"},
    "inference_batch_size": {"model"},
    "inference_confidence": {"model"},
    "experiment_share": {"model"},
    "inference_drift": {"model"},
    "inference_drift_statistic": {"model", "test"},
    "inference_alert": {"alert"},
    "model_info": {"model", "version", "precision", "provider"},
    "service_ready": set(),
    "inference_waiting_images": set(),
    "inference_in_flight_requests": set(),
    "process_resident_memory_bytes": set(),
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(waiting=lambda: 3, in_flight=lambda: 2)


def families(metrics: Metrics) -> dict[str, Metric]:
    """What Prometheus understands of the text, by name."""
    return {one.name: one for one in text_string_to_metric_families(metrics.text().decode())}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}


def touch_all(metrics: Metrics) -> None:
    """Give every series a value."""
    metrics.answered("cats", 200)
    metrics.rejections.labels("invalid").inc()
    metrics.feedback.labels("cats", "true").inc()
    metrics.failures.labels("cats").inc()
    metrics.decisions.labels("promoted").inc()
    metrics.reloads.labels("cats", "loaded").inc()
    metrics.share.labels("cats").set(0.5)
    metrics.drift.labels("cats").set(0)
    metrics.drift_statistic.labels("cats", "brightness").set(0.1)
    metrics.alert.labels("p95_ms").set(1)
    metrics.info.labels("cats", "1", "fp32", "CPUExecutionProvider").set(1)
    series = metrics.of("cats")
    series.images.inc(2)
    for one in (series.latency, series.queue, series.decode, series.model, series.batch, series.confidence):
        one.observe(0.3)


def test_every_series_has_its_name_and_its_labels(metrics: Metrics) -> None:
    touch_all(metrics)
    found = families(metrics)
    assert set(LABELS) <= set(found)
    for name, labels in LABELS.items():
        assert found[name].samples, name
        assert found[name].documentation
        for sample in found[name].samples:
            assert set(sample.labels) - {"le"} == labels, name


def test_latencies_are_counted_in_buckets_from_10_ms_to_a_second(metrics: Metrics) -> None:
    metrics.of("cats").latency.observe(0.3)
    samples = families(metrics)["inference_latency_seconds"].samples
    counts = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert next(iter(counts)) == "0.01"
    assert list(counts)[-2:] == ["1.0", "+Inf"]
    assert (counts["0.2"], counts["0.3"], counts["+Inf"]) == (0, 1, 1)


def test_answers_are_counted_by_model_and_status(metrics: Metrics) -> None:
    for model, status in (("cats", 200), ("cats", 200), ("", 404), ("dogs", 200)):
        metrics.answered(model, status)
    assert {key[1:]: value for key, value in values(families(metrics)["inference_requests"]).items()} == {
        ("cats", "200"): 2, ("", "404"): 1, ("dogs", "200"): 1,
    }  # fmt: skip


def test_what_changes_by_itself_is_read_when_it_is_asked_for(metrics: Metrics) -> None:
    found = families(metrics)
    assert values(found["inference_waiting_images"]) == {("inference_waiting_images",): 3}
    assert values(found["inference_in_flight_requests"]) == {("inference_in_flight_requests",): 2}
    [memory] = values(found["process_resident_memory_bytes"]).values()
    assert memory == pytest.approx(memory_bytes(), rel=0.5)
    assert 10e6 < memory < 10e9


def test_a_name_from_outside_stays_inside_its_label(metrics: Metrics) -> None:
    name = 'a"} 1\nevil_total 5\n# \\'
    metrics.info.labels(name, name, "fp32", "CPU").set(1)
    found = families(metrics)
    assert "evil" not in found
    [sample] = found["model_info"].samples
    assert sample.labels["version"] == name


def test_two_services_of_one_process_count_apart(metrics: Metrics) -> None:
    metrics.answered("cats", 200)
    assert not families(Metrics(waiting=lambda: 0, in_flight=lambda: 0))["inference_requests"].samples


def test_batches_are_counted_by_powers_of_two_and_latencies_up_to_a_second(metrics: Metrics) -> None:
    metrics.of("cats")
    bounds = {
        name: [sample.labels["le"] for sample in families(metrics)[name].samples if sample.name.endswith("_bucket")]
        for name in ("inference_batch_size", "inference_latency_seconds")
    }
    assert bounds["inference_batch_size"] == [*(f"{2.0**power}" for power in range(8)), "+Inf"]
    assert bounds["inference_latency_seconds"] == [
        "0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.2", "0.3", "0.5", "0.75", "1.0", "+Inf",
    ]  # fmt: skip
