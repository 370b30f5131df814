"""What the loop learns: equalities between ways of writing the same run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from .conftest import Fit, Fitted

pytestmark = pytest.mark.framework

NORM = {"model__args": {"norm": True}}
SGD = {"model__optimizer": "sgd", "model__weight_decay": 0.0, "model__scheduler": "constant"}


def assert_equal_weights(one: Fitted, other: Fitted) -> None:
    assert_close_weights(one, other, atol=0)


def assert_close_weights(one: Fitted, other: Fitted, atol: float) -> None:
    others = other.weights()
    for name, value in one.weights().items():
        np.testing.assert_allclose(value, others[name], rtol=0, atol=atol, err_msg=name)


def change(fitted: Fitted, training: Any) -> Any:
    """How far training has moved each weight."""
    before = training.initial_weights(fitted.config)
    return np.concatenate([(value - before[name]).ravel() for name, value in fitted.weights().items()])


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_eight_steps_an_execution_give_the_same_weights_and_metrics_as_one(precision: str, fit: Fit) -> None:
    one = fit(trainer__precision=precision, trainer__log_every_n_steps=2, **NORM)
    eight = fit(trainer__precision=precision, trainer__log_every_n_steps=2, trainer__steps_per_execution=8, **NORM)
    assert_equal_weights(one, eight)
    assert one.rows() == eight.rows()
    assert one.result.steps == eight.result.steps == 12


def test_four_accumulated_batches_of_8_learn_what_one_of_32_does(fit: Fit) -> None:
    small = fit(data__batch_size=8, trainer__accumulate_grad_batches=4, **SGD)
    large = fit(data__batch_size=32, **SGD)
    assert small.result.steps == large.result.steps == 6
    assert_close_weights(small, large, atol=1e-6)


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_gradients_are_clipped_by_their_norm(precision: str, fit: Fit, training: Any) -> None:
    fitted = fit(
        trainer__precision=precision,
        trainer__max_steps=1,
        trainer__gradient_clip_val=0.01,
        model__learning_rate=1.0,
        **SGD,
    )
    assert np.linalg.norm(change(fitted, training)) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_gradients_are_clipped_by_value(precision: str, fit: Fit, training: Any) -> None:
    fitted = fit(
        trainer__precision=precision,
        trainer__max_steps=1,
        trainer__gradient_clip_val=0.001,
        trainer__gradient_clip_algorithm="value",
        model__learning_rate=1.0,
        **SGD,
    )
    moved = abs(change(fitted, training))
    assert moved.max() == pytest.approx(0.001, rel=1e-3)
    assert (moved < 0.0009).any()


def test_a_mixed_precision_run_clips_the_gradients_of_adamw_too(fit: Fit) -> None:
    fitted = fit(trainer__precision="bf16", trainer__gradient_clip_val=0.5, trainer__max_epochs=1)
    assert math.isfinite(fitted.column("val_loss")[-1])


def test_the_same_seed_gives_the_same_weights_and_metrics(fit: Fit) -> None:
    one, other = (fit(data__augment__crop=1, **NORM) for _ in range(2))
    assert_equal_weights(one, other)
    assert one.rows() == other.rows()


def test_another_seed_gives_other_weights(fit: Fit) -> None:
    one, other = fit(seed=1), fit(seed=2)
    assert not any(np.array_equal(value, other.weights()[name]) for name, value in one.weights().items())


def test_workers_change_nothing(fit: Fit) -> None:
    assert_equal_weights(fit(data__augment__crop=1), fit(data__augment__crop=1, data__num_workers=2))


def test_a_frozen_backbone_stays_as_it_was(fit: Fit, training: Any) -> None:
    fitted = fit(model__freeze_backbone=True, **NORM)
    before = training.initial_weights(fitted.config)
    changed = {name for name, value in fitted.weights().items() if not np.array_equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_every_precision_of_a_cpu_learns(fit: Fit) -> None:
    losses = {
        precision: fit(trainer__precision=precision, trainer__max_epochs=3).column("val_loss")
        for precision in ("32", "bf16", "64")
    }
    for loss in losses.values():
        assert loss[-1] < loss[0]
    assert losses["64"] == pytest.approx(losses["32"], abs=1e-3)
    assert losses["bf16"] == pytest.approx(losses["32"], abs=0.1)


def test_the_learning_rate_follows_the_schedule_step_by_step(fit: Fit) -> None:
    fitted = fit(trainer__log_every_n_steps=3, model__scheduler="cosine", model__learning_rate=0.01)
    # the third, sixth, ninth and twelfth of 12 steps, counted from 0: 0.01 · (1 + cos(π · step / 12)) / 2
    expected = {3: 0.00933013, 6: 0.0062941, 9: 0.0025, 12: 0.00017037}
    logged = {int(row["step"]): float(row["learning_rate"]) for row in fitted.rows() if "train_loss" in row}
    assert logged == pytest.approx(expected, abs=1e-8)
