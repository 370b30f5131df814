"""Loss and hits of training, counted on the device and read now and then."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from mlstack.errors import TrainingError

BATCHES_AT_ONCE = 16  # whose answers wait to be counted together

Tensor = TypeVar("Tensor")


class TrainingMeter(ABC, Generic[Tensor]):
    """Losses and hits since the last reading, and over the epoch.

    Answers wait until there are some, so that most steps don't pay for small operations (0.05 ms on a CPU). Losses are
    kept one by one and summed in their order: a run that goes on from a checkpoint sums the same numbers.

    Each framework fills in how its tensors are counted and read.

    Args:
        counts_hits: Whether the likeliest class can be right or wrong (classification).
    """

    def __init__(self, *, counts_hits: bool = True) -> None:
        self.counts_hits = counts_hits
        self._answers: list[tuple[Tensor, Tensor]] = []  # logits [batch, class], labels
        self._hits: Tensor | None = None  # int64 []
        self._losses: list[Tensor] = []  # float [] each
        self._read: list[float] = []  # losses that came with a checkpoint
        self._sizes: list[int] = []
        self._counted_hits = 0
        self._epoch = [0.0, 0, 0]  # loss · images, hits, images of this epoch up to the last reading

    @abstractmethod
    def _right(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
        """How often the likeliest class is the label's, int64 [], on the device."""

    @abstractmethod
    def _values(self, losses: Sequence[Tensor]) -> list[float]:
        """Losses, float [] each, as numbers. Waits for the device."""

    @abstractmethod
    def _number(self, hits: Tensor) -> int:
        """int64 [] as a number. Waits for the device."""

    @abstractmethod
    def _sum(self, one: Tensor, other: Tensor) -> Tensor:
        """Of two int64 [], on the device."""

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor, *, images: int) -> None:
        """Count one batch.

        Args:
            logits: float [batch, class].
            labels: int64 [batch], or float [batch, class], a distribution whose greatest share counts.
            loss: float [], the batch's mean.
            images: The batch's size.
        """
        self._losses.append(loss)
        self._sizes.append(images)
        if self.counts_hits:
            self._answers.append((logits, labels))
            if len(self._answers) == BATCHES_AT_ONCE:
                self._count_hits()

    def _count_hits(self) -> None:
        if not self._answers:
            return
        logits, labels = zip(*self._answers, strict=True)
        self._answers = []
        hits = self._right(logits, labels)
        self._hits = hits if self._hits is None else self._sum(self._hits, hits)

    def losses(self) -> list[float]:
        """The mean loss of each batch since the last reading. Waits for the device."""
        if self._losses:
            self._read += self._values(self._losses)
            self._losses = []
        return self._read

    def read(self) -> list[float]:
        """Sum of loss · images, hits, images since the last reading; all 0 if nothing came in. Waits for the device."""
        state = self.state_dict()
        sums = [
            math.fsum(loss * size for loss, size in zip(state["losses"], state["sizes"], strict=True)),
            state["hits"],
            sum(state["sizes"]),
        ]
        self._read, self._sizes, self._hits, self._counted_hits = [], [], None, 0
        return sums

    def add_to_epoch(self, sums: list[float]) -> None:
        """Add a reading, of this rank or of all, to the epoch's sums."""
        self._epoch = [total + part for total, part in zip(self._epoch, sums, strict=True)]

    def means(self, sums: list[float]) -> dict[str, float]:
        """`train_loss` and, with classes, `train_accuracy` of a reading; empty without images."""
        loss, hits, images = sums
        if not images:
            return {}
        accuracy = {"train_accuracy": hits / images} if self.counts_hits else {}
        return {"train_loss": loss / images, **accuracy}

    def epoch(self) -> dict[str, float]:
        """Means over the epoch, up to the last reading; starts a new one."""
        means, self._epoch = self.means(self._epoch), [0.0, 0, 0]
        return means

    def state_dict(self) -> dict[str, Any]:
        """Plain values, so that a checkpoint can hold what was not read yet."""
        self._count_hits()
        if self._hits is not None:
            self._counted_hits += self._number(self._hits)
            self._hits = None
        return {
            "losses": list(self.losses()),
            "sizes": list(self._sizes),
            "hits": self._counted_hits,
            "epoch": list(self._epoch),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        self._read, self._sizes = list(state["losses"]), list(state["sizes"])
        self._counted_hits, self._epoch = state["hits"], list(state["epoch"])


def first_bad(losses: list[float]) -> int | None:
    """Position of the first loss that is NaN or infinite."""
    return next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), None)


def diverged(*, step: int, epoch: int, loss: float) -> TrainingError:
    """What to say about a loss that is no number.

    Args:
        step: Optimizer step, counted from 1.
        epoch: Counted from 1.
        loss: NaN or infinite.
    """
    return TrainingError(
        f"the loss is {loss} at optimizer step {step} (epoch {epoch}): training has diverged",
        hint="lower model.learning_rate, clip gradients (trainer.gradient_clip_val=1), or look at the data\n"
        "the checkpoints up to there are whole: scripts/eval.py and scripts/predict.py work with this run folder",
    )
