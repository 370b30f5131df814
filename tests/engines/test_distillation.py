from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.errors import RunError
from mlstack.runs import RunFolder

from ..conftest import network
from .conftest import Fit, Fitted

pytestmark = pytest.mark.framework

SGD = {"model__optimizer": "sgd", "model__weight_decay": 0.0, "model__scheduler": "constant"}
LOGITS = np.log([[0.5, 0.5], [0.2, 0.8]])
ANSWERS = np.log([[0.9, 0.1], [0.2, 0.8]])


@pytest.fixture
def arithmetic(engine: str) -> Any:
    return importlib.import_module(f"arithmetic_{engine}")


@pytest.fixture
def distillation(arithmetic: Any, engine: str) -> Any:
    return importlib.import_module(f"mlstack.engines.{engine}.distillation")


@pytest.fixture
def teach(fit: Fit) -> Any:
    """`teach(model__args=…)`: a run folder whose network can teach."""

    def teach(**overrides: Any) -> Fitted:
        fitted = fit(**{"trainer__max_epochs": 1, **overrides})
        fitted.run.write_config(fitted.config)
        return fitted

    return teach


def taught_by(teacher: Fitted, **settings: Any) -> dict[str, Any]:
    return {"distill__teacher": str(teacher.run.path), **settings}


def equal(one: Fitted, other: Fitted, atol: float = 0) -> bool:
    others = other.weights()
    assert one.weights().keys() == others.keys()
    return all(np.allclose(value, others[name], rtol=0, atol=atol) for name, value in one.weights().items())


def test_the_divergence_of_classes_is_the_mean_over_pictures(distillation: Any, arithmetic: Any) -> None:
    # 0.9 · ln(0.9 / 0.5) + 0.1 · ln(0.1 / 0.5) = 0.529008 - 0.160944 = 0.368064, and 0 for the second picture
    got = distillation.class_divergence(arithmetic.tensor(LOGITS), arithmetic.tensor(ANSWERS), temperature=1)
    assert got.item() == pytest.approx(0.368064 / 2, abs=1e-6)


def test_a_temperature_flattens_both_and_its_square_keeps_the_size(distillation: Any, arithmetic: Any) -> None:
    # At 2 the teacher's chances are 3 : 1. 0.75 · ln 1.5 + 0.25 · ln 0.5 = 0.304099 - 0.173287 = 0.130812, times 4
    got = distillation.class_divergence(arithmetic.tensor(LOGITS), arithmetic.tensor(ANSWERS), temperature=2)
    assert got.item() == pytest.approx(4 * 0.130812 / 2, abs=1e-6)


def test_its_gradient_is_the_difference_of_the_chances(distillation: Any, arithmetic: Any) -> None:
    # d/dz of T² · KL / n is T · (student - teacher) / n: 2 · (0.5 - 0.75) / 2 for the first class of picture 1
    logits = arithmetic.tensor(LOGITS, learns=True)
    distillation.class_divergence(logits, arithmetic.tensor(ANSWERS), temperature=2).backward()
    np.testing.assert_allclose(arithmetic.gradient(logits), [[-0.25, 0.25], [0, 0]], atol=1e-6)


def test_the_divergence_of_labels_is_the_mean_over_pictures_and_labels(distillation: Any, arithmetic: Any) -> None:
    # The first of four labels: 0.75 where the student says 0.5: 0.130812 as above; the others agree.
    answers = arithmetic.tensor([[np.log(3), 40.0], [-40.0, 0.0]])
    logits = arithmetic.tensor([[0.0, 40.0], [-40.0, 0.0]])
    got = distillation.label_divergence(logits, answers, temperature=1)
    assert got.item() == pytest.approx(0.130812 / 4, abs=1e-6)
    got = distillation.label_divergence(2 * logits, 2 * answers, temperature=2)
    assert got.item() == pytest.approx(4 * 0.130812 / 4, abs=1e-6)


def test_numbers_are_compared_in_their_standard_deviations(distillation: Any, arithmetic: Any) -> None:
    # ((3 / 2)² + (20 / 10)² + 1² + 0²) / 4, the third target's deviation of 0 counting as 1
    values, answers = arithmetic.tensor([[3.0, 20.0, 1.0, 5.0]]), arithmetic.tensor([[0.0, 0.0, 0.0, 5.0]])
    got = distillation.squared_difference(values, answers, [2.0, 10.0, 0.0, 1.0])
    assert got.item() == pytest.approx((2.25 + 4 + 1) / 4)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(fit: Fit, teach: Any) -> None:
    teacher = teach()
    itself = {"distill__weight": 1.0, "init_from": str(teacher.run.checkpoint("best")), "data__augment__crop": 2}
    student = fit(**taught_by(teacher, **itself), data__augment__mixup=0.5, trainer__log_every_n_steps=1, **SGD)
    assert max(student.column("train_loss")) < 1e-6  # of the same blended pictures, in the same order
    assert equal(student, teacher, atol=1e-6)


def test_a_teacher_without_weight_changes_nothing(fit: Fit, teach: Any) -> None:
    teacher = teach(model__target=None, model__name="small_cnn", model__args={"width": 4})
    alone, taught = fit(), fit(**taught_by(teacher, distill__weight=0.0))
    assert equal(alone, taught)
    assert alone.rows() == taught.rows()


def test_a_teacher_is_no_part_of_the_checkpoint_and_counted_apart(fit: Fit, teach: Any) -> None:
    teacher = teach(model__args={"width": 20, "norm": True})
    student = fit(**taught_by(teacher), trainer__ema_decay=0.9, model__l1=1e-4)
    assert student.weights().keys() == fit(trainer__max_steps=1).weights().keys()
    assert student.result.teacher_parameters == teacher.result.parameters > student.result.parameters
    assert teacher.result.teacher_parameters is None


def test_four_accumulated_batches_of_8_learn_what_one_of_32_does(fit: Fit, teach: Any) -> None:
    teacher = taught_by(teach())
    small = fit(data__batch_size=8, trainer__accumulate_grad_batches=4, **teacher, **SGD)
    large = fit(data__batch_size=32, **teacher, **SGD)
    assert equal(small, large, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "64"])
def test_eight_steps_an_execution_give_the_same_weights_as_one(precision: str, fit: Fit, teach: Any) -> None:
    settings = taught_by(teach(model__args={"norm": True}), trainer__precision=precision)
    one, eight = fit(**settings), fit(**settings, trainer__steps_per_execution=8)
    assert equal(one, eight)
    assert not equal(one, fit(trainer__precision=precision))


def test_a_teacher_stays_as_it_is_and_answers_alike_each_time(
    engine: str, distillation: Any, arithmetic: Any, teach: Any, fit: Fit
) -> None:
    run = teach(model__target=network(engine, "noisy"), data__mean=[0.5], data__std=[0.25])
    config = fit(**taught_by(run), trainer__max_steps=1).config
    teacher = distillation.build_teacher(config)
    images = arithmetic.tensor(run.dataset.splits["val"].images.read(np.arange(8)), "uint8")
    logits, loss = arithmetic.tensor(np.zeros((8, 10))), arithmetic.tensor([1.0])
    first, second = (teacher.blend(loss, logits, images).item() for _ in range(2))
    assert first == second
    for name, value in run.weights("best").items():
        np.testing.assert_array_equal(arithmetic.array(teacher.classifier.state_dict()[name]), value)
    assert arithmetic.array(teacher.classifier.shift) == pytest.approx([-2.0])


def test_a_teacher_that_cannot_take_these_pictures_says_which_size_it_had(fit: Fit, teach: Any) -> None:
    teacher = teach()
    with pytest.raises(RunError, match=r"^distill\.teacher=.*can't be loaded") as caught:
        fit(**taught_by(teacher), data__image_size=16)
    assert "its own pictures were 8×8, this run's are 16×16: type data.image_size=8" in caught.value.hint


def test_a_teacher_of_another_picture_size_answers_where_its_network_can(fit: Fit, teach: Any) -> None:
    teacher = teach(model__target=None, model__name="small_cnn", model__args={"width": 4})
    assert fit(**taught_by(teacher), data__image_size=16, trainer__max_steps=1).result.steps == 1


def test_a_folder_that_is_no_run_is_named(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="can't be read as a run's settings"):
        fit(distill__teacher=str(RunFolder(tmp_path / "nothing").path))
