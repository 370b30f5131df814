"""Knowledge distillation: a network learns from the labels and from what another one, the teacher, answers.

loss = (1 - weight) · loss of the task + weight · divergence, after Hinton et al. (https://arxiv.org/abs/1503.02531):
for classes temperature² · KL(teacher ‖ student) of the two softmaxes of logits / temperature, the mean over pictures.

Deviations from the paper:

- The divergence in the place of the cross-entropy with the teacher's probabilities: the same gradient, and 0 where the
  two agree.
- The two parts make a weighted mean. The loss of the task may be any, with its label smoothing and class weights,
  which touch that part only.
- The teacher sees the very batch that its student sees, crops, mirrored and blended pictures too, as
  https://arxiv.org/abs/2106.05237 advises.
- Several labels: temperature² · the binary divergence of each label, the mean over pictures and labels, as `bce` is.
- Regression: the squared difference in standard deviations of each target, the mean over pictures and targets. There is
  no temperature in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional

from mlstack.config import Config
from mlstack.engines.paddle.precision import autocast
from mlstack.engines.paddle.restore import build_network, load_weights
from mlstack.engines.teacher import TeacherSettings, loaded, teacher_settings
from mlstack.models.paddle import Classifier


class Teacher:
    """A network that answers and does not learn.

    Not a nn.Layer: what a training model owns goes into checkpoints, averages and optimizers.

    Args:
        classifier: Trained.
        config: The settings of the student's run.
    """

    def __init__(self, classifier: Classifier, config: Config) -> None:
        for layer in classifier.sublayers(include_self=True):
            layer.training = False  # not by `eval`, which also switches Paddle as a whole to evaluation
        for parameter in classifier.parameters():
            parameter.stop_gradient = True
        self.classifier = classifier
        named = classifier.named_parameters()  # batch-norm statistics among them
        weights = [weight for name, weight in named if not name.endswith(("._mean", "._variance"))]
        self.parameters = sum(int(weight.size) for weight in weights)
        self._settings, self._task, self._precision = config.distill, config.data.task, config.trainer.precision
        self._stds = config.data.target_std or ()

    def blend(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """The loss of the task, made to count the teacher too.

        Args:
            loss: Of the task: the mean over the batch, a scalar.
            logits: What the student says, float [batch, answer].
            images: What it was asked, uint8 [batch, height, width, channel].
        """
        with paddle.no_grad(), autocast(self._precision):
            answers = self.classifier(images)
        weight = self._settings.weight
        return (1 - weight) * loss + weight * self._divergence(_precise(logits), _precise(answers))

    def _divergence(self, logits: Tensor, answers: Tensor) -> Tensor:
        if self._task == "regression":
            return squared_difference(logits, answers, self._stds)
        divergence = label_divergence if self._task == "multilabel" else class_divergence
        return divergence(logits, answers, temperature=self._settings.temperature)


def build_teacher(config: Config) -> Teacher | None:
    """The teacher that `distill.teacher` names; None where no one does.

    Raises:
        RunError: There is no such run, or its network can't take these pictures, or its weights can't be loaded.
    """
    settings = teacher_settings(config)
    if settings is None:
        return None
    classifier = loaded(settings, lambda: _load(settings))
    if config.trainer.compile:
        paddle.jit.to_static(classifier)
    return Teacher(classifier, config)


def _load(settings: TeacherSettings) -> Classifier:
    classifier = build_network(settings.model, settings.data, settings.checkpoint)
    load_weights(classifier, settings.checkpoint)
    return classifier


def class_divergence(logits: Tensor, answers: Tensor, *, temperature: float) -> Tensor:
    """temperature² · KL(teacher ‖ student) in nats: float [batch, class] twice → the mean over pictures, a scalar."""
    own, teachers = (functional.log_softmax(scores / temperature, axis=1) for scores in (logits, answers))
    return temperature**2 * (teachers.exp() * (teachers - own)).sum(axis=1).mean()


def label_divergence(logits: Tensor, answers: Tensor, *, temperature: float) -> Tensor:
    """temperature² · the binary KL of each label: float [batch, label] twice → the mean over all, a scalar."""
    own, teachers = logits / temperature, answers / temperature
    present = functional.log_sigmoid(teachers) - functional.log_sigmoid(own)
    absent = functional.log_sigmoid(-teachers) - functional.log_sigmoid(-own)
    chances = functional.sigmoid(teachers)
    return temperature**2 * (chances * present + (1 - chances) * absent).mean()


def squared_difference(values: Tensor, answers: Tensor, stds: Sequence[float]) -> Tensor:
    """In standard deviations, 1 where one is 0: float [batch, target] twice → the mean over all, a scalar."""
    units = paddle.to_tensor([std or 1.0 for std in stds], dtype=values.dtype)
    return ((values - answers) / units).square().mean()


def _precise(answers: Tensor) -> Tensor:
    """In float32 where a network answered in less."""
    return answers if answers.dtype in (paddle.float32, paddle.float64) else answers.astype("float32")
