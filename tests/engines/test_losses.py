from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from mlstack.config import DataConfig, ModelConfig
from mlstack.errors import ConfigError

pytestmark = pytest.mark.framework

# Two images, three classes; 0.7 and 0.8 for the right one.
LOG_CHANCES = np.log([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
LABELS = np.array([0, 2])

Make = Callable[..., Any]


@pytest.fixture
def arithmetic(engine: str) -> Any:
    return importlib.import_module(f"arithmetic_{engine}")


@pytest.fixture
def loss_of(arithmetic: Any) -> Make:
    """`loss_of("focal", gamma=1)`: a loss over three classes, or two targets."""

    def loss_of(
        name: str, *, classes: int = 3, counts: list[int] | None = None, images: int = 0, **args: Any
    ) -> Callable[..., Any]:
        data = DataConfig(classes=[str(number) for number in range(classes)], target_std=[2.0, 10.0])
        model = ModelConfig(loss=name, loss_args=args)
        loss: Callable[..., Any] = arithmetic.build_loss(model, data, class_counts=counts, images=images)
        return loss

    return loss_of


@pytest.fixture
def value(arithmetic: Any, loss_of: Make) -> Make:
    """`value("focal", logits, labels, gamma=1)`: what that loss says."""

    def value(name: str, outputs: ArrayLike, labels: ArrayLike, **settings: Any) -> float:
        return float(loss_of(name, **settings)(arithmetic.tensor(outputs), arithmetic.tensor(labels)).item())

    return value


def one_hot(labels: NDArray[Any], classes: int = 3) -> NDArray[Any]:
    return np.eye(classes)[labels]


def test_cross_entropy_is_the_mean_of_minus_the_logarithms(value: Make) -> None:
    # -(ln 0.7 + ln 0.8) / 2 = (0.356675 + 0.223144) / 2 = 0.289909
    assert value("cross_entropy", LOG_CHANCES, LABELS) == pytest.approx(0.289909, abs=1e-6)


def test_label_smoothing_spreads_a_share_over_all_classes(value: Make) -> None:
    # Image 1: 0.7 · -ln 0.7 + 0.1 · (-ln 0.7 - ln 0.2 - ln 0.1) = 0.249672 + 0.1 · 4.268698 = 0.676542
    # Image 2: 0.7 · -ln 0.8 + 0.1 · (-ln 0.1 - ln 0.1 - ln 0.8) = 0.156200 + 0.1 · 4.828314 = 0.639032; 0.3 / 3 = 0.1
    got = value("cross_entropy", LOG_CHANCES, LABELS, label_smoothing=0.3)
    assert got == pytest.approx((0.676542 + 0.639032) / 2, abs=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_class_weights_make_a_weighted_mean(value: Make, soft: bool) -> None:
    # (3 · 0.356675 + 1 · 0.223144) / (3 + 1) = 0.323292
    labels = one_hot(LABELS) if soft else LABELS
    got = value("cross_entropy", LOG_CHANCES, labels, class_weights=[3.0, 5.0, 1.0])
    assert got == pytest.approx(0.323292, abs=1e-6)


def test_balanced_weights_are_the_images_over_classes_times_count(value: Make) -> None:
    # 12 images: 12 / (3 · 6) = 2/3, 12 / (3 · 4) = 1, 12 / (3 · 2) = 2
    # (2/3 · 0.356675 + 2 · 0.223144) / (2/3 + 2) = 0.256526
    got = value("cross_entropy", LOG_CHANCES, LABELS, class_weights="balanced", counts=[6, 4, 2])
    assert got == pytest.approx(0.256526, abs=1e-6)


def test_an_absent_class_is_balanced_like_one_with_a_single_image(loss_of: Make) -> None:
    weights = loss_of("cross_entropy", class_weights="balanced", counts=[6, 6, 0]).class_weights
    assert weights.tolist() == pytest.approx([12 / 18, 12 / 18, 12 / 3])


def test_soft_labels_mix_the_losses_of_their_classes(value: Make) -> None:
    # Image 1: 0.5 · 0.356675 + 0.5 · -ln 0.2 = 0.983056; image 2: 0.223144
    soft = [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert value("cross_entropy", LOG_CHANCES, soft) == pytest.approx((0.983056 + 0.223144) / 2, abs=1e-6)
    # With weights 3, 5, 1: (3 · 0.5 · 0.356675 + 5 · 0.5 · 1.609438 + 0.223144) / (1.5 + 2.5 + 1) = 0.956350
    got = value("cross_entropy", LOG_CHANCES, soft, class_weights=[3.0, 5.0, 1.0])
    assert got == pytest.approx(0.956350, abs=1e-6)


def test_focal_discounts_the_easy_images(value: Make) -> None:
    # (0.3² · 0.356675 + 0.2² · 0.223144) / 2 = (0.0321008 + 0.0089258) / 2 = 0.0205133
    assert value("focal", LOG_CHANCES, LABELS) == pytest.approx(0.0205133, abs=1e-6)
    # α of 0.25 takes a quarter of it; one a class: (2 · 0.0321008 + 1 · 0.0089258) / 2 = 0.0365637
    assert value("focal", LOG_CHANCES, LABELS, alpha=0.25) == pytest.approx(0.0205133 / 4, abs=1e-6)
    assert value("focal", LOG_CHANCES, LABELS, alpha=[2.0, 9.0, 1.0]) == pytest.approx(0.0365637, abs=1e-6)
    # balanced: 2/3 and 2, as above: (2/3 · 0.0321008 + 2 · 0.0089258) / 2 = 0.0196261
    got = value("focal", LOG_CHANCES, LABELS, alpha="balanced", counts=[6, 4, 2])
    assert got == pytest.approx(0.0196261, abs=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_focal_with_gamma_0_is_cross_entropy(value: Make, soft: bool) -> None:
    logits, labels = np.random.default_rng(0).normal(size=(16, 5)), np.arange(16) % 5
    mixed = (one_hot(labels, 5) + one_hot(labels[::-1], 5)) / 2 if soft else labels
    expected = value("cross_entropy", logits, mixed, classes=5)
    assert value("focal", logits, mixed, classes=5, gamma=0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_one_hot_row_counts_like_its_class(value: Make, name: str) -> None:
    args = {"class_weights": [1.0, 2.0, 4.0], "label_smoothing": 0.1} if name == "cross_entropy" else {}
    hard, soft = (value(name, LOG_CHANCES, labels, **args) for labels in (LABELS, one_hot(LABELS)))
    assert hard == pytest.approx(soft)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_a_certain_answer_has_a_finite_gradient(arithmetic: Any, loss_of: Make, gamma: float) -> None:
    logits = arithmetic.tensor([[200.0, 0.0, 0.0], [200.0, 0.0, 0.0]], learns=True)
    loss_of("focal", gamma=gamma)(logits, arithmetic.tensor(LABELS)).backward()
    gradient = arithmetic.gradient(logits)
    assert np.isfinite(gradient).all() and abs(gradient[1]).sum() > 0


def test_bce_is_the_mean_over_images_and_labels(loss_of: Make, value: Make) -> None:
    # Chances 0.7 and 0.2 of labels 1 and 0, then 0.4 and 0.9 of 0 and 1:
    # -(ln 0.7 + ln 0.8 + ln 0.6 + ln 0.9) / 4 = (0.356675 + 0.223144 + 0.510826 + 0.105361) / 4 = 0.299001
    chances, labels = np.array([[0.7, 0.2], [0.4, 0.9]]), [[1.0, 0.0], [0.0, 1.0]]
    logits = np.log(chances / (1 - chances))
    assert value("bce", logits, labels, classes=2) == pytest.approx(0.299001, abs=1e-6)
    # present labels weigh 3 and 2: (3 · 0.356675 + 0.223144 + 0.510826 + 2 · 0.105361) / 4 = 0.503679
    assert value("bce", logits, labels, classes=2, pos_weight=[3.0, 2.0]) == pytest.approx(0.503679, abs=1e-6)
    # of 8 images 2 and 8 have the label: balanced = 6 / 2 = 3 and, instead of 0, 1 / 8
    weights = loss_of("bce", classes=2, pos_weight="balanced", counts=[2, 8], images=8).pos_weight
    assert weights.tolist() == [3.0, 0.125]


# Off by 1 of a deviation of 2 (0.5), by 30 of 10 (3), by -4 of 2 (-2) and by 0.
OUTPUTS, TARGETS = [[6.0, 130.0], [1.0, 7.0]], [[5.0, 100.0], [5.0, 7.0]]


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("mse", {}, (0.25 + 9 + 4 + 0) / 4),
        ("mae", {}, (0.5 + 3 + 2 + 0) / 4),
        # 0.5² / 2, then 1 · (3 - 0.5) and 1 · (2 - 0.5)
        ("huber", {}, (0.125 + 2.5 + 1.5 + 0) / 4),
        # delta 2.5: the parabola up to there: 0.125, 2.5 · (3 - 1.25), 2² / 2
        ("huber", {"delta": 2.5}, (0.125 + 4.375 + 2 + 0) / 4),
    ],
)
def test_regression_counts_residuals_in_standard_deviations(
    value: Make, name: str, args: dict[str, Any], expected: float
) -> None:
    assert value(name, OUTPUTS, TARGETS, **args) == pytest.approx(expected)


def test_a_target_that_never_varies_keeps_its_unit(arithmetic: Any) -> None:
    loss = arithmetic.build_loss(ModelConfig(loss="mae"), DataConfig(classes=["a"], target_std=[0.0]))
    assert loss(arithmetic.tensor([[3.0]]), arithmetic.tensor([[1.0]])).item() == 2


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "bce", "mse", "mae", "huber"])
@pytest.mark.parametrize(("dtype", "summed_in"), [("bfloat16", "float32"), ("float64", "float64")])
def test_coarse_outputs_are_summed_in_float32_and_exact_ones_stay_exact(
    arithmetic: Any, loss_of: Make, name: str, dtype: str, summed_in: str
) -> None:
    outputs = arithmetic.tensor(np.zeros((4, 2)), dtype, learns=True)
    labels = [0, 1, 0, 1] if name in ("cross_entropy", "focal") else np.ones((4, 2))
    loss = loss_of(name, classes=2)(outputs, arithmetic.tensor(labels))
    loss.backward()
    assert arithmetic.array(loss).shape == () and arithmetic.dtype_of(loss) == summed_in
    assert outputs.grad is not None and arithmetic.dtype_of(outputs.grad) == dtype


def test_weights_that_are_too_few_are_one_message(loss_of: Make) -> None:
    with pytest.raises(ConfigError, match=r"loss_args\.class_weights has 2 values for 3 classes") as caught:
        loss_of("cross_entropy", class_weights=[1.0, 2.0])
    assert caught.value.key == "model.loss_args.class_weights"


def test_arguments_of_another_loss_and_unknown_losses_are_refused(loss_of: Make) -> None:
    with pytest.raises(ConfigError, match=r"loss_args\.gamma is not an argument of model\.loss=cross_entropy"):
        loss_of("cross_entropy", gamma=2)
    with pytest.raises(ConfigError, match=r"model\.loss=auto is unknown"):
        loss_of("auto")


def test_settings_without_what_the_data_say_are_a_bug(arithmetic: Any, loss_of: Make) -> None:
    with pytest.raises(ValueError, match="must be complete"):
        arithmetic.build_loss(ModelConfig(loss="mse"), DataConfig())
    with pytest.raises(ValueError, match="balanced needs the counts"):
        loss_of("cross_entropy", class_weights="balanced")


def test_weights_of_the_loss_stay_out_of_checkpoints(loss_of: Make) -> None:
    for loss in (
        loss_of("cross_entropy", class_weights=[1.0, 2.0, 3.0]),
        loss_of("focal", alpha=[1.0, 2.0, 3.0]),
        loss_of("bce", pos_weight=[1.0, 2.0, 3.0]),
        loss_of("mse"),
    ):
        assert len(list(loss.buffers())) == 1 and not loss.state_dict()


def test_the_l1_penalty_is_over_what_weight_decay_shrinks(arithmetic: Any) -> None:
    network = arithmetic.sequential(arithmetic.linear(2, 2), arithmetic.batch_norm(2), arithmetic.linear(2, 1))
    values = arithmetic.weights(network)
    values |= {"0.weight": np.array([[1.0, -2.0], [0.0, 3.0]]), "2.weight": np.array([[0.5, -0.5]])}
    arithmetic.set_weights(network, values)
    penalty = arithmetic.Optimizer(ModelConfig(weight_decay=0.0), network).l1_penalty()
    assert penalty.item() == 1 + 2 + 0 + 3 + 0.5 + 0.5
    penalty.backward()
    gradients = arithmetic.gradients(network)
    assert set(gradients) == {"0.weight", "2.weight"}
    assert gradients["0.weight"].tolist() == [[1, -1], [0, 1]]


def test_the_l1_penalty_covers_norms_and_biases_where_they_shrink_too(arithmetic: Any) -> None:
    for everything, expected in ((True, 3.0), (False, 0.0)):
        network = arithmetic.batch_norm(3)  # weights of 1, biases of 0
        config = ModelConfig(decay_norm_and_bias=everything)
        assert arithmetic.Optimizer(config, network).l1_penalty().item() == expected
