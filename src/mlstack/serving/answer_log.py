"""Who answered which request, and what: so that a true label that comes later can be counted for the right model."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Answered(NamedTuple):
    """What is remembered of a request.

    Attributes:
        arm: Label of the model that answered.
        predicted: For each picture the index of the most probable class; -1 = none, or nothing to be judged any more.
        journaled: Whether its pictures went to the journal.
        outdated: Whether another version of the model is served by now.
    """

    arm: str
    predicted: tuple[int, ...]
    journaled: bool
    outdated: bool


class AnswerLog:
    """The newest answers by request id. To be used from one thread.

    Args:
        size: Answers at most; the oldest go first. One of a single picture takes about 250 bytes.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._order: deque[str] = deque()
        self._answers: dict[str, Answered] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def remember(self, request_id: str, answered: Answered) -> None:
        """Keep an answer; an older one of the same request id gives way."""
        if request_id not in self._answers:
            self._order.append(request_id)
        self._answers[request_id] = answered
        if len(self._order) > self._size:
            del self._answers[self._order.popleft()]

    def outdate(self, arm: str) -> None:
        """Note that what was answered under this label came from a version that is replaced now."""
        for request_id, answered in self._answers.items():
            if answered.arm == arm:
                self._answers[request_id] = answered._replace(outdated=True)

    def find(self, request_id: str) -> Answered | None:
        """The answer, or None: it was never given, or is too old."""
        return self._answers.get(request_id)
