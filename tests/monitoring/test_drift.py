from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundles import make_bundle

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.reference import REFERENCE, Reference, count_classes, light_of, read_reference
from mlstack.config.serving import DriftConfig
from mlstack.monitoring.comparison import Comparison, DriftTest
from mlstack.monitoring.drift import DriftMonitor
from mlstack.monitoring.statistics import ks_test
from mlstack.monitoring.watched import GRID_PIXELS, grid_light
from mlstack.monitoring.windows import EvenSampler, Ring

FEATURES = 32
Answer = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Metadata:
    return replace(make_bundle(tmp_path_factory.mktemp("bundle") / "bundle").metadata, features=FEATURES)


def answers(
    count: int, *, seed: int, brighter: float = 1.0, shares: list[float] | None = None, task: str = "classification"
) -> Answer:
    """Pictures, outputs and features as of a service: classes of the shares, features and light with them."""
    random = np.random.default_rng(seed)
    classes = random.choice(10, count, p=shares or [0.1] * 10)
    level = (80 + 8 * classes + random.normal(0, 15, count)).clip(10, 250)[:, None, None, None] * brighter
    images = (level + random.normal(0, 12, (count, 8, 8, 1))).clip(0, 255).astype(np.uint8)
    logits = random.normal(0, 1, (count, 10))
    logits[np.arange(count), classes] += random.gamma(6, 1, count)
    features = np.maximum(random.normal(0, 1, (count, FEATURES)) + (np.arange(FEATURES) % 10 == classes[:, None]), 0)
    features[:, :8] = 0  # dead
    if task == "regression":
        return images, logits.astype(np.float32), features.astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return images, chances.astype(np.float32), features.astype(np.float32)


def reference_of(answer: Answer) -> Reference:
    images, output, features = answer
    light = light_of(images)
    return Reference(images[:8], output[:8], output, features.astype(np.float16), *light, np.zeros(0, np.int64))


def counted_reference(pictures: int) -> Reference:
    """1000 rows, and classes counted over more pictures."""
    images, output, features = answers(pictures, seed=0)
    kept = reference_of((images[:1000], output[:1000], features[:1000]))
    class_counts, counted = count_classes(output, "classification")
    return replace(kept, class_counts=class_counts, counted=counted)


def monitor_of(metadata: Metadata, *, pictures: int = 1000, **settings: Any) -> DriftMonitor:
    reference = reference_of(answers(pictures, seed=0, task=metadata.task))
    return DriftMonitor(reference, metadata, DriftConfig(**{"images_per_s": 1e9, **settings}))


def test_answers_like_the_reference_are_no_drift(metadata: Metadata) -> None:
    monitor = monitor_of(metadata)
    monitor.observe(*answers(500, seed=1))
    report = monitor.check()
    assert not report.drifting
    assert report.window == 500
    assert report.reference == 1000
    assert report is monitor.report


def test_brighter_pictures_are_found_and_named(metadata: Metadata) -> None:
    monitor = monitor_of(metadata)
    monitor.observe(*answers(500, seed=1, brighter=1.2))
    report = monitor.check()
    assert report.drifting
    assert report.confirmed
    assert report.comparison is not None
    found = {test.name: test for test in report.comparison.tests if test.drifting}
    test = found["brightness_mean"]
    assert test.current is not None
    assert test.reference is not None
    assert test.current > 1.1 * test.reference
    assert report.as_dict()["psi"]["brightness"]["change"] == "large"


def test_a_class_twice_as_frequent_is_found_and_named(metadata: Metadata) -> None:
    monitor = monitor_of(metadata)
    monitor.observe(*answers(500, seed=1, shares=[0.8 / 9] * 3 + [0.2] + [0.8 / 9] * 6))
    report = monitor.check()
    assert report.drifting
    assert report.comparison is not None
    (test,) = [test for test in report.comparison.tests if test.name == "class_share"]
    assert test.drifting
    assert test.label == "class_3"


def class_share(monitor: DriftMonitor) -> DriftTest:
    comparison = monitor.check().comparison
    assert comparison is not None
    (test,) = [test for test in comparison.tests if test.name == "class_share"]
    return test


def test_shares_are_those_of_all_pictures_that_were_counted(metadata: Metadata) -> None:
    counted = replace(counted_reference(1000), class_counts=np.array([550, *[50] * 9]) * 6, counted=6000)
    monitor = DriftMonitor(counted, metadata, DriftConfig(images_per_s=1e9))
    monitor.observe(*answers(500, seed=1))
    test = class_share(monitor)
    assert (test.label, test.reference, test.drifting) == ("class_0", 0.55, True)
    report = monitor.report
    assert report is not None
    assert report.reference == 1000
    plain = report.as_dict()
    assert plain["psi"]["classes"]["change"] == "large"
    assert [one["name"] for one in plain["tests"] if one["drifting"]] == ["class_share", "class_shares"]


def test_a_growing_class_is_found_sooner_where_more_pictures_were_counted(metadata: Metadata) -> None:
    many = counted_reference(8000)
    few = replace(many, class_counts=np.zeros(0, np.int64), counted=0)
    taken = {"many": 0, "few": 0}  # answers, over all classes: one alone may be rare in the reference by chance
    for grown in range(10):
        shares = [0.2 if place == grown else 0.8 / 9 for place in range(10)]
        for name, reference in (("many", many), ("few", few)):
            monitor = DriftMonitor(reference, metadata, DriftConfig(images_per_s=1e9))
            monitor.observe(*answers(500, seed=1))
            while not class_share(monitor).drifting:
                monitor.observe(*answers(50, seed=2 + grown + taken[name], shares=shares))
                taken[name] += 50
    assert taken["many"] < 0.9 * taken["few"]


def test_false_alarms_stay_within_alpha_where_more_pictures_were_counted(metadata: Metadata) -> None:
    reference = counted_reference(8000)
    alarms = 0
    for seed in range(1, 61):
        monitor = DriftMonitor(reference, metadata, DriftConfig(images_per_s=1e9))
        monitor.observe(*answers(500, seed=seed))
        alarms += monitor.check().suspected
    assert alarms <= 3  # at most 0.5 are to be expected


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("pictures", [50, 1000])
def test_false_alarms_of_independent_windows_stay_within_alpha(metadata: Metadata, task: str, pictures: int) -> None:
    alarms = 0
    for seed in range(30):
        reference = reference_of(answers(pictures, seed=2 * seed, task=task))
        monitor = DriftMonitor(reference, replace(metadata, task=task), DriftConfig(images_per_s=1e9))
        monitor.observe(*answers(500, seed=2 * seed + 1, task=task))
        alarms += monitor.check().suspected
    assert alarms <= 2  # at most 0.3 are to be expected


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_shift_of_other_tasks_answers_is_found(metadata: Metadata, task: str) -> None:
    monitor = monitor_of(replace(metadata, task=task))
    images, output, features = answers(500, seed=1, task=task)
    monitor.observe(images, output * np.float32(0.7), features)
    assert monitor.check().drifting


def test_drift_lasts_until_a_whole_window_went_by_without(metadata: Metadata) -> None:
    monitor = monitor_of(metadata, window=200, every=100)
    monitor.observe(*answers(200, seed=1, brighter=1.4))
    first = monitor.check()
    assert first.drifting
    assert first.changed
    states = []
    for seed in range(2, 8):
        monitor.observe(*answers(100, seed=seed))
        states.append(monitor.check())
    assert [report.drifting for report in states] == [True, True, False, False, False, False]
    assert [report.changed for report in states] == [False, False, True, False, False, False]
    assert states[0].since == first.since
    assert states[-1].since is None
    assert not states[-1].confirmed


def test_drift_is_confirmed_once_comparisons_of_a_fifth_of_the_window_found_it(
    metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([0.005, 0.5, 0.005, 0.006, 0.007, 0.5])
    monkeypatch.setattr("mlstack.monitoring.drift.compare", lambda *_, **__: Comparison((), next(found), {}))
    monitor = monitor_of(metadata, window=500, every=50)
    states = []
    for seed in range(6):
        monitor.observe(*answers(50, seed=seed))
        states.append(monitor.check())
    assert [report.suspected for report in states] == [True, False, True, True, True, False]
    assert [report.confirmed for report in states] == [False, False, False, False, True, True]


def test_a_comparison_is_due_after_so_many_new_answers(metadata: Metadata) -> None:
    monitor = monitor_of(metadata, every=100)
    monitor.observe(*answers(99, seed=1))
    assert not monitor.due()
    monitor.observe(*answers(1, seed=2))
    assert monitor.due()
    monitor.check()
    assert not monitor.due()


def test_too_few_answers_and_too_small_a_reference_are_said_and_not_judged(metadata: Metadata) -> None:
    monitor = monitor_of(metadata, every=1)
    monitor.observe(*answers(20, seed=1))
    assert not monitor.due()
    assert monitor.check().note == "20 answers so far, 50 are needed"
    small = monitor_of(metadata, pictures=20)
    small.observe(*answers(500, seed=1, brighter=2))
    assert not small.due()
    assert small.check().note == "the bundle's reference holds 20 pictures, 30 are needed"


def test_a_reference_without_pictures_is_no_reason_to_fail(metadata: Metadata) -> None:
    assert "holds 0 pictures" in monitor_of(metadata, pictures=0).check().note


def test_a_report_is_json(metadata: Metadata) -> None:
    monitor = monitor_of(metadata)
    images, output, features = answers(100, seed=1)
    monitor.observe(images * 0, output, features)  # black: without a variance
    plain = json.loads(json.dumps(monitor.check().as_dict(), allow_nan=False))
    assert plain["drifting"] is True
    assert {"name", "statistic", "p_value", "threshold", "drifting"} <= plain["tests"][0].keys()
    assert plain["at"].endswith("+00:00")


def test_answers_that_are_no_numbers_or_beyond_16_bits_do_no_harm(metadata: Metadata) -> None:
    monitor = monitor_of(metadata)
    images, output, features = answers(100, seed=1)
    output[3], features[4], features[5], features[6] = np.nan, np.inf, 1e30, np.nan
    monitor.observe(images, output, features)
    assert monitor.check().window == 100


def test_a_tiny_change_of_saturated_confidences_is_no_drift(metadata: Metadata) -> None:
    images, _, features = answers(1000, seed=0)
    output = np.eye(10, dtype=np.float32)[np.arange(1000) % 10]
    monitor = DriftMonitor(reference_of((images, output, features)), metadata, DriftConfig(images_per_s=1e9))
    images, _, features = answers(500, seed=1)
    monitor.observe(images, output[:500] * np.float32(0.9999999), features)
    assert not monitor.check().drifting


def test_a_bundles_own_reference_is_taken(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    reference = read_reference(bundle.path / REFERENCE, bundle.metadata)
    assert "16 pictures" in DriftMonitor(reference, bundle.metadata, DriftConfig()).check().note


def test_comparing_beside_observing_loses_nothing(metadata: Metadata) -> None:
    monitor = monitor_of(metadata, every=1)
    answer = answers(60, seed=1)

    def observe() -> None:
        for _ in range(50):
            monitor.observe(*answer)

    threads = [threading.Thread(target=observe) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        monitor.check()
    assert monitor.check().looked_at == 6000


def test_a_ring_keeps_the_newest_rows() -> None:
    ring = Ring(5, 1, np.int32)
    for rows in ([0, 1, 2], [3, 4, 5, 6], list(range(7, 20)), []):
        ring.push(np.array(rows, np.int32)[:, None])
    assert sorted(ring.copy()[:, 0]) == [15, 16, 17, 18, 19]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_busy_seconds_are_sampled_evenly_and_quiet_ones_wholly() -> None:
    clock = Clock()
    sampler = EvenSampler(50, clock=clock)
    taken: list[float] = []
    for request in range(5000):
        clock.now = request / 1000
        taken += [clock.now] * len(sampler.take(1))
    later = [moment % 1 for moment in taken if moment >= 2]
    assert len(later) == pytest.approx(150, abs=3)
    assert np.histogram(later, 5, (0, 1))[0] == pytest.approx([30] * 5, abs=3)
    clock.now = 100.0
    sampler.take(1)
    clock.now = 102.0
    assert sampler.take(30) == list(range(30))
    assert len(sampler.take(1000)) <= 20


def test_of_a_large_batch_rows_from_all_over_are_taken() -> None:
    sampler = EvenSampler(4, clock=Clock())
    assert sampler.take(100) == [0, 25, 50, 75]
    assert sampler.take(100) == []


def test_small_pictures_are_seen_whole() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    for ours, exact in zip(grid_light(images), light_of(images), strict=True):
        assert ours == pytest.approx(exact, rel=1e-5)
    assert images[0, :, :, 0].size == GRID_PIXELS


@pytest.mark.parametrize("shape", [(33, 70, 1), (224, 224, 3), (1, 5000, 3), (600, 3, 1)])
def test_light_of_any_shape_and_of_one_colour_is_exact(shape: tuple[int, int, int]) -> None:
    brightness, contrast = grid_light(np.full((2, *shape), 200, np.uint8))
    assert brightness == pytest.approx([200, 200], rel=1e-5)
    assert contrast == pytest.approx([0, 0], abs=0.1)


def test_light_from_a_grid_has_the_distribution_of_all_pixels() -> None:
    random = np.random.default_rng(0)
    smooth = random.normal(128, 40, (300, 8, 8, 1)).repeat(28, 1).repeat(28, 2) + random.normal(
        0, 20, (300, 224, 224, 1)
    )
    images = smooth.clip(0, 255).astype(np.uint8)
    for ours, exact in zip(grid_light(images), light_of(images), strict=True):
        assert ks_test(ours, exact).p_value > 0.9
        assert np.abs(ours - exact).mean() < 2
