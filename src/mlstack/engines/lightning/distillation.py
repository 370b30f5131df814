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

import torch
from torch import Tensor
from torch.nn import functional

from mlstack.config import Config
from mlstack.engines.lightning.restore import build_network, load_weights
from mlstack.engines.teacher import TeacherSettings, loaded, teacher_settings
from mlstack.models.pytorch import Classifier


class Teacher:
    """A network that answers and does not learn.

    Not an nn.Module: what a training module owns goes into checkpoints, averages and optimizers.

    Args:
        classifier: Trained.
        config: The settings of the student's run.
    """

    def __init__(self, classifier: Classifier, config: Config) -> None:
        self.classifier = classifier.eval().requires_grad_(False)
        self.parameters = sum(parameter.numel() for parameter in classifier.parameters())
        self._settings, self._task = config.distill, config.data.task
        self._stds = config.data.target_std or ()

    def to(self, device: torch.device) -> None:
        self.classifier.to(device)

    def blend(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """The loss of the task, made to count the teacher too.

        Args:
            loss: Of the task: the mean over the batch, a scalar.
            logits: What the student says, float [batch, answer].
            images: What it was asked, uint8 [batch, height, width, channel].
        """
        with torch.no_grad():
            answers = self.classifier(images)
        weight = self._settings.weight
        return (1 - weight) * loss + weight * self._divergence(_precise(logits), _precise(answers))

    def _divergence(self, logits: Tensor, answers: Tensor) -> Tensor:
        if self._task == "regression":
            return squared_difference(logits, answers, self._stds)
        divergence = label_divergence if self._task == "multilabel" else class_divergence
        return divergence(logits, answers, temperature=self._settings.temperature)


def build_teacher(config: Config) -> Teacher | None:
    """The teacher that `distill.teacher` names, on the processor; None where no one does.

    Raises:
        RunError: There is no such run, or its network can't take these pictures, or its weights can't be loaded.
    """
    settings = teacher_settings(config)
    if settings is None:
        return None
    classifier = loaded(settings, lambda: _load(settings, config))
    if config.trainer.compile:
        classifier.compile()
    return Teacher(classifier, config)


def _load(settings: TeacherSettings, config: Config) -> Classifier:
    last = config.trainer.channels_last
    classifier = build_network(settings.model, settings.data, settings.checkpoint, channels_last=last)
    if config.trainer.precision == "64":
        classifier.double()  # before the weights come in, or they would be rounded
    load_weights(classifier, settings.checkpoint)
    return classifier


def class_divergence(logits: Tensor, answers: Tensor, *, temperature: float) -> Tensor:
    """temperature² · KL(teacher ‖ student) in nats: float [batch, class] twice → the mean over pictures, a scalar."""
    own, teachers = (functional.log_softmax(scores / temperature, dim=1) for scores in (logits, answers))
    return temperature**2 * functional.kl_div(own, teachers, reduction="batchmean", log_target=True)


def label_divergence(logits: Tensor, answers: Tensor, *, temperature: float) -> Tensor:
    """temperature² · the binary KL of each label: float [batch, label] twice → the mean over all, a scalar."""
    own, teachers = logits / temperature, answers / temperature
    present = functional.logsigmoid(teachers) - functional.logsigmoid(own)
    absent = functional.logsigmoid(-teachers) - functional.logsigmoid(-own)
    chances = torch.sigmoid(teachers)
    return temperature**2 * (chances * present + (1 - chances) * absent).mean()


def squared_difference(values: Tensor, answers: Tensor, stds: Sequence[float]) -> Tensor:
    """In standard deviations, 1 where one is 0: float [batch, target] twice → the mean over all, a scalar."""
    units = torch.tensor([std or 1.0 for std in stds]).to(values)
    return ((values - answers) / units).square().mean()


def _precise(answers: Tensor) -> Tensor:
    """In float32 where a network answered in less."""
    return answers if answers.dtype == torch.float64 else answers.float()
