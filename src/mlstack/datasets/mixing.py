"""MixUp (https://arxiv.org/abs/1710.09412) and CutMix (https://arxiv.org/abs/1905.04899) of pictures and labels.

Unlike in the papers each pair has a draw of its own, not the whole batch, and partners are neighbours instead of a
random permutation (the order of an epoch is random already): position i of the global batch goes with i XOR 1, the
last one of an odd batch stays as it is. Both of a pair keep the same share of themselves, so one draw serves both.
MixUp's share is rounded to 256ths, in picture and label alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import AugmentConfig
from mlstack.datasets import draws
from mlstack.datasets.base import Labels
from mlstack.datasets.draws import Draws

Pictures = NDArray[np.uint8]  # [batch, side, side, channel]
Soft = NDArray[np.float32]  # [batch, class]

BITS = 8  # of MixUp's shares: 255 · 256 and the rounding fit 16 bits
ONE = 1 << BITS
VALUES = 3 << 14  # at a time: the temporaries stay in the processor's cache, and below what malloc maps anew each time


def mixes(config: AugmentConfig) -> bool:
    """Whether pictures are blended at all."""
    return config.mixup > 0 or config.cutmix > 0


def whole_pairs(part: slice, total: int) -> slice:
    """The part of a global batch widened so that no pair is cut: at most one picture more on each side."""
    return slice(part.start - part.start % 2, min(total, part.stop + part.stop % 2))


def mix(pictures: Pictures, labels: Soft, *, config: AugmentConfig, numbers: Draws) -> tuple[Pictures, Soft]:
    """Blend each picture and its label with its neighbour's; where both ways are on, a batch takes one of them.

    Args:
        pictures: uint8 [batch, side, side, channel], contiguous; changed in place.
        labels: float32 [batch, class], distributions or 0/1.
        config: The two alphas, at least one of them above 0.
        numbers: Random numbers; their part begins with the first of a pair.

    Returns:
        Pictures and labels, float32 [batch, class].
    """
    if config.mixup and config.cutmix:
        coin = draws.stream(numbers.seed, draws.MIXING, epoch=numbers.epoch, step=numbers.step).random()
        config = AugmentConfig(mixup=config.mixup) if coin < 0.5 else AugmentConfig(cutmix=config.cutmix)
    if config.mixup:
        weights = mixup_weights(config.mixup, numbers)
        return mixup(pictures, weights), blend_labels(labels, weights.astype(np.float32) / np.float32(ONE))
    boxes = cutmix_boxes(config.cutmix, numbers, side=pictures.shape[1])
    return cutmix(pictures, boxes), blend_labels(labels, kept_shares(boxes, side=pictures.shape[1]))


def soft_labels(labels: Labels, classes: int) -> Soft:
    """Class indices int64 [batch] → float32 [batch, class] with a 1 each; labels that are vectors already pass."""
    if labels.ndim == 2:
        return np.asarray(labels, np.float32)
    vectors = np.zeros((len(labels), classes), np.float32)
    vectors[np.arange(len(labels)), labels.astype(np.intp)] = 1
    return vectors


def mixup_weights(alpha: float, numbers: Draws) -> NDArray[np.uint16]:
    """What each picture of a pair keeps of itself, in 256ths: uint16 [pair], 0 to 256, λ ~ Beta(α, α)."""
    random = draws.stream(numbers.seed, draws.MIXUP, epoch=numbers.epoch, step=numbers.step)
    shares = random.beta(alpha, alpha, numbers.total // 2)[_pairs(numbers)]
    return np.rint(shares * ONE).astype(np.uint16)


def mixup(pictures: Pictures, weights: NDArray[np.uint16]) -> Pictures:
    """a → (w·a + (256 - w)·b) / 256, rounded, and b → a + b less that, which is its own blend rounded.

    Args:
        pictures: uint8 [batch, side, side, channel], contiguous; changed in place.
        weights: uint16 [pair], 0 to 256.
    """
    rows = pictures.reshape(len(pictures), -1)
    count = max(1, VALUES // rows.shape[1])
    for start in range(0, len(weights), count):
        chosen = weights[start : start + count, None]
        first, second = (rows[side : 2 * len(weights) : 2][start : start + count] for side in (0, 1))
        near, far = first.astype(np.uint16), second.astype(np.uint16)
        both = near + far
        near -= far  # may wrap: the result fits 16 bits, and so does arithmetic modulo 2¹⁶
        near *= chosen
        far <<= BITS
        near += far
        near += ONE // 2
        near >>= BITS
        first[:] = near
        both -= near
        second[:] = both
    return pictures


def cutmix_boxes(alpha: float, numbers: Draws, *, side: int) -> NDArray[np.int64]:
    """The box that a pair exchanges: int64 [pair, 4], top, bottom, left, right in pixels, cut off at the edge.

    Its sides are √(1 - λ) of the picture's with λ ~ Beta(α, α), its centre lies anywhere in the picture.
    """
    random = draws.stream(numbers.seed, draws.CUTMIX, epoch=numbers.epoch, step=numbers.step)
    pairs = numbers.total // 2
    shares, centres = random.beta(alpha, alpha, pairs), (random.random((pairs, 2)) * side).astype(np.int64)
    length = (side * np.sqrt(1 - shares)).astype(np.int64)[:, None]
    begin = centres - length // 2
    boxes = np.stack([begin, begin + length], axis=2).reshape(pairs, 4)
    return np.asarray(np.clip(boxes, 0, side)[_pairs(numbers)])


def kept_shares(boxes: NDArray[np.int64], *, side: int) -> NDArray[np.float32]:
    """The part of its area that a picture keeps, float32 [pair]: 1 less the area of the box as it was cut off."""
    areas = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return (1 - areas / side**2).astype(np.float32)


def cutmix(pictures: Pictures, boxes: NDArray[np.int64]) -> Pictures:
    """Exchange a box between the two of each pair.

    Args:
        pictures: uint8 [batch, side, side, channel], contiguous; changed in place.
        boxes: int64 [pair, 4]: top, bottom, left, right.
    """
    _, side, _, channels = pictures.shape
    pairs = pictures[: 2 * len(boxes)].reshape(-1, 2, side, side * channels)  # whole rows are copied faster than pixels
    for pair, (top, bottom, left, right) in zip(pairs, boxes.tolist(), strict=True):
        box = pair[:, top:bottom, left * channels : right * channels]
        box[:] = box[::-1].copy()
    return pictures


def blend_labels(labels: Soft, shares: NDArray[np.float32]) -> Soft:
    """Each label keeps its pair's share (float32 [pair]) and takes the rest from its partner's."""
    blended = labels.copy()
    for own, other in ((0, 1), (1, 0)):
        mine, theirs = (labels[side : 2 * len(shares) : 2] for side in (own, other))
        blended[own : 2 * len(shares) : 2] = mine * shares[:, None] + theirs * (1 - shares)[:, None]
    return blended


def _pairs(numbers: Draws) -> slice:
    """Which pairs of the global batch lie in this part; the single last picture of an odd batch is none."""
    return slice(numbers.part.start // 2, numbers.part.stop // 2)
