"""Answers that are remembered by the content of their pictures.

The same bytes, asked of the same version of a model, have the same answer; it goes back without the queue and the
model. What is kept is what an answer and those who watch it need: outputs and features, both float32. The pictures
are not kept, only their BLAKE2b digest of 160 bits (https://www.rfc-editor.org/rfc/rfc7693).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from mlstack.serving.lane import BatchAnswer

DIGEST_BYTES = 20
ENTRY_BYTES = 900  # of Python's and NumPy's own objects for one answer, measured


class AnswerCache:
    """The answers used last, as many as fit. On the event loop only.

    Args:
        max_bytes: Most memory that they take together; 0 = nothing is remembered.

    Attributes:
        bytes: What they take now.
        hits: Questions that were answered from here.
        misses: Questions that were not.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._answers: OrderedDict[bytes, BatchAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, label: str, version: str, images: NDArray[np.uint8]) -> BatchAnswer | None:
        """The answer to a request's images, uint8 [n, height, width, channel]; None where it is not known."""
        if not self.max_bytes:
            return None
        key = _key(label, version, images)
        answer = self._answers.get(key)
        if answer is None:
            self.misses += 1
            return None
        self._answers.move_to_end(key)
        self.hits += 1
        return answer

    def put(self, label: str, version: str, images: NDArray[np.uint8], answer: BatchAnswer) -> None:
        """Remember an answer; what was not used for longest goes where there is no room."""
        kept = BatchAnswer(answer.output.copy(), answer.features.copy(), queue_s=0.0, model_s=0.0, batch_images=0)
        size = _size(kept)
        if size > self.max_bytes:
            return
        key = _key(label, version, images)
        if (before := self._answers.pop(key, None)) is not None:
            self.bytes -= _size(before)
        self._answers[key] = kept
        self.bytes += size
        while self.bytes > self.max_bytes:
            _, oldest = self._answers.popitem(last=False)
            self.bytes -= _size(oldest)


def _key(label: str, version: str, images: NDArray[np.uint8]) -> bytes:
    """Digest of everything that decides about an answer; the lengths keep `a` + `b1` and `ab` + `1` apart."""
    head = f"{len(label)} {len(version)} {images.shape} {label}{version}"
    digest = hashlib.blake2b(head.encode(), digest_size=DIGEST_BYTES)
    digest.update(np.ascontiguousarray(images).data)
    return digest.digest()


def _size(answer: BatchAnswer) -> int:
    return ENTRY_BYTES + answer.output.nbytes + answer.features.nbytes
