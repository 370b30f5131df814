from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.config.trainer import ENGINES
from mlstack.errors import ConfigError

from ..conftest import network
from .conftest import Fit

pytestmark = pytest.mark.framework

PAIRS = list(itertools.combinations(ENGINES, 2))


def modules_of(engine: str) -> tuple[Any, Any]:
    """Arithmetic of an engine, and what is tested."""
    arithmetic = importlib.import_module(f"arithmetic_{engine}")
    return arithmetic, importlib.import_module(f"mlstack.engines.{engine}.quantization_aware")


@pytest.fixture
def arithmetic(engine: str) -> Any:
    return modules_of(engine)[0]


@pytest.fixture
def aware(engine: str) -> Any:
    return modules_of(engine)[1]


def test_an_input_is_rounded_to_256_values_from_least_to_greatest(aware: Any, arithmetic: Any) -> None:
    # From -1 to 4.1 a step is 5.1 / 255 = 0.02, and 50 stands for 0: 0.505 is 25.25 steps, 4.093 is 204.65.
    got = arithmetic.array(aware.as_uint8(arithmetic.tensor([[-1.0, 0.0, 0.505, 4.093, 4.1]])))
    np.testing.assert_allclose(got, [[-1.0, 0.0, 0.5, 4.1, 4.1]], atol=1e-6)


def test_0_stays_0_in_an_input_that_is_never_negative(aware: Any, arithmetic: Any) -> None:
    # From 0, not from 2, to 5.1 a step is 0.02.
    got = arithmetic.array(aware.as_uint8(arithmetic.tensor([[2.0, 2.005, 3.337, 5.1]])))
    np.testing.assert_allclose(got, [[2.0, 2.0, 3.34, 5.1]], atol=1e-6)


@pytest.mark.parametrize("rounded", ["as_uint8", "as_int8"])
def test_what_is_all_0_stays_0(rounded: str, aware: Any, arithmetic: Any) -> None:
    got = arithmetic.array(getattr(aware, rounded)(arithmetic.tensor(np.zeros((2, 3)))))
    np.testing.assert_array_equal(got, np.zeros((2, 3)))


def test_each_output_channel_has_a_scale_of_its_own(aware: Any, arithmetic: Any) -> None:
    # 1.27 makes steps of 0.01 and 12.7 steps of 0.1.
    got = arithmetic.array(aware.as_int8(arithmetic.tensor([[1.27, -0.996, 0.0], [0.12, 12.7, -0.26]])))
    np.testing.assert_allclose(got, [[1.27, -1.0, 0.0], [0.1, 12.7, -0.3]], atol=1e-6)


@pytest.mark.parametrize("rounded", ["as_uint8", "as_int8"])
def test_gradients_pass_as_if_nothing_had_been_rounded(rounded: str, aware: Any, arithmetic: Any) -> None:
    values = arithmetic.tensor([[0.3, -1.7], [2.0, 0.0]], learns=True)
    factors = np.array([[1.0, 2.0], [3.0, 4.0]])
    (getattr(aware, rounded)(values) * arithmetic.tensor(factors)).sum().backward()
    np.testing.assert_array_equal(arithmetic.gradient(values), factors)


def test_less_precise_numbers_are_rounded_in_float32(aware: Any, arithmetic: Any) -> None:
    # bfloat16 has 8 bits: it can't hold 201 · 0.01.
    got = aware.as_uint8(arithmetic.tensor([[2.55, 2.01]], "bfloat16"))
    assert arithmetic.dtype_of(got) == "float32"


def layered(engine: str, images: NDArray[Any], weights: dict[str, NDArray[Any]], *, training: bool) -> Any:
    """What a network of convolutions and linear layers answers, and its gradients, by name."""
    arithmetic, aware = modules_of(engine)
    made = arithmetic.layered()
    arithmetic.set_weights(made, weights)
    made.train() if training else made.eval()
    assert aware.make_quantization_aware(made) == 4
    answers = made(arithmetic.tensor(images, "float32"))
    (answers * arithmetic.tensor(np.arange(3.0))).sum().backward()
    return arithmetic.array(answers), arithmetic.gradients(made)


def drawn(engine: str) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Pictures and weights."""
    arithmetic, _ = modules_of(engine)
    draw = np.random.default_rng(0)
    weights = arithmetic.weights(arithmetic.layered())
    return draw.normal(size=(8, 1, 6, 6)), {name: draw.normal(size=value.shape) for name, value in weights.items()}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_two_engines_round_alike(first: str, second: str) -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(64, 33)).astype(np.float32)
    for name in ("as_uint8", "as_int8"):
        one, other = (
            arithmetic.array(getattr(aware, name)(arithmetic.tensor(values)))
            for arithmetic, aware in map(modules_of, (first, second))
        )
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
        assert abs(one - values).max() > 1e-3


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_two_engines_compute_the_same_network(first: str, second: str) -> None:
    images, weights = drawn(first)
    (one, gradients), (other, others) = (layered(each, images, weights, training=True) for each in (first, second))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, others[name], rtol=1e-4, atol=1e-4 * abs(gradient).max(), err_msg=name)


def test_only_training_rounds(engine: str, arithmetic: Any) -> None:
    images, weights = drawn(engine)
    plain = arithmetic.layered()
    arithmetic.set_weights(plain, weights)
    plain.eval()
    expected = arithmetic.array(plain(arithmetic.tensor(images, "float32")))
    np.testing.assert_array_equal(layered(engine, images, weights, training=False)[0], expected)
    plain.train()
    expected = arithmetic.array(plain(arithmetic.tensor(images, "float32")))
    assert abs(layered(engine, images, weights, training=True)[0] - expected).max() > 1e-3


@pytest.mark.parametrize("precision", ["32", "bf16", "64"])
def test_a_run_learns_with_rounded_numbers_and_leaves_an_ordinary_checkpoint(precision: str, fit: Fit) -> None:
    settings = {"trainer__precision": precision, "model__args": {"norm": True}, "trainer__max_epochs": 3}
    plain, aware = fit(**settings), fit(**settings, trainer__quantization_aware=True, trainer__ema_decay=0.5)
    assert aware.weights().keys() == plain.weights().keys()
    assert aware.column("val_loss")[-1] < aware.column("val_loss")[0]
    assert not np.array_equal(aware.weights()["head.weight"], plain.weights()["head.weight"])


def test_a_layer_that_is_recomputed_rounds_too(engine: str, aware: Any, arithmetic: Any) -> None:
    memory = importlib.import_module(f"layers_{engine}").memory
    made = [arithmetic.sequential(arithmetic.sequential(arithmetic.linear(3, 4))) for _ in range(2)]
    arithmetic.set_weights(made[1], arithmetic.weights(made[0]))
    assert memory.checkpoint_gradients(made[1]) == 1
    answers = []
    for each in made:
        aware.make_quantization_aware(each)
        each.train()
        answers.append(arithmetic.array(each(arithmetic.tensor([[0.1234, -1.0, 2.0]]))))
    np.testing.assert_array_equal(*answers)


def test_recomputed_blocks_learn_the_same(fit: Fit) -> None:
    small = {"model__target": None, "model__name": "small_cnn", "model__args": {"width": 4}}
    settings = {"trainer__quantization_aware": True, "trainer__max_steps": 3, **small}
    one, other = fit(**settings), fit(**settings, model__gradient_checkpointing=True)
    for name, value in one.weights().items():
        np.testing.assert_allclose(value, other.weights()[name], rtol=0, atol=1e-6, err_msg=name)


def test_a_network_without_such_layers_is_refused(engine: str, aware: Any, arithmetic: Any) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.quantization_aware=true: this network has neither"):
        aware.make_quantization_aware(arithmetic.batch_norm(3))


def test_a_student_learns_from_its_teacher_with_rounded_numbers(engine: str, fit: Fit) -> None:
    teacher = fit(trainer__max_epochs=1, model__target=network(engine, "noisy"))
    teacher.run.write_config(teacher.config)
    student = fit(distill__teacher=str(teacher.run.path), trainer__quantization_aware=True)
    assert student.column("val_loss")[-1] < student.column("val_loss")[0]
