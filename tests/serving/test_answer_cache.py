from __future__ import annotations

import gc
import tracemalloc

import numpy as np
from numpy.typing import NDArray

from mlstack.serving.answer_cache import AnswerCache
from mlstack.serving.scheduler import BatchAnswer

MEGABYTE = 10**6


def images(seed: int, shape: tuple[int, ...] = (1, 4, 4, 1)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def answer(value: float, answers: int = 10, features: int = 64) -> BatchAnswer:
    whole = np.full((8, answers), value, np.float32), np.full((8, features), value, np.float32)
    return BatchAnswer(whole[0][2:3], whole[1][2:3], queue_s=1.0, model_s=2.0, batch_images=8)


def test_an_answer_is_known_by_the_content_of_its_pictures_the_model_and_its_version() -> None:
    cache = AnswerCache(MEGABYTE)
    cache.put("a", "1", images(0), answer(0.5))
    known = cache.get("a", "1", images(0).copy())
    assert known is not None
    assert known.output.tolist() == [[0.5] * 10] and known.features.shape == (1, 64)
    assert (known.queue_s, known.model_s) == (0, 0)
    for label, version, pictures in (
        ("b", "1", images(0)),
        ("a", "2", images(0)),
        ("a", "1", images(1)),
        ("a1", "", images(0)),
        ("a", "1", images(0).reshape(1, 2, 8, 1)),
        ("a", "1", images(0).reshape(2, 2, 4, 1)),
    ):
        assert cache.get(label, version, pictures) is None
    assert (cache.hits, cache.misses, len(cache)) == (1, 6, 1)


def test_pictures_that_do_not_lie_in_one_piece_are_known_by_their_content_too() -> None:
    cache = AnswerCache(MEGABYTE)
    whole = images(0, (2, 4, 4, 3))
    cache.put("a", "1", whole[:, ::2], answer(1))
    assert cache.get("a", "1", whole[:, ::2].copy()) is not None
    assert cache.get("a", "1", whole[:, 1::2]) is None


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = AnswerCache(MEGABYTE)
    cache.put("a", "1", images(0), answer(0))
    one = cache.bytes
    cache = AnswerCache(3 * one)
    for seed in range(3):
        cache.put("a", "1", images(seed), answer(seed))
    assert cache.get("a", "1", images(0)) is not None
    cache.put("a", "1", images(3), answer(3))
    assert [cache.get("a", "1", images(seed)) is not None for seed in range(4)] == [True, False, True, True]
    assert cache.bytes == 3 * one


def test_the_same_question_takes_its_room_once_and_the_newest_answer_counts() -> None:
    cache = AnswerCache(MEGABYTE)
    cache.put("a", "1", images(0), answer(1, answers=1000))
    cache.put("a", "1", images(0), answer(2))
    known = cache.get("a", "1", images(0))
    assert known is not None and known.output[0, 0] == 2
    other = AnswerCache(MEGABYTE)
    other.put("a", "1", images(0), answer(2))
    assert cache.bytes == other.bytes


def test_an_answer_larger_than_the_cache_and_any_answer_of_a_cache_of_nothing_are_not_kept() -> None:
    for cache in (AnswerCache(1000), AnswerCache(0)):
        cache.put("a", "1", images(0), answer(0, answers=10_000))
        assert cache.get("a", "1", images(0)) is None
        assert (cache.bytes, len(cache)) == (0, 0)


def test_the_memory_that_is_counted_is_the_memory_that_is_taken() -> None:
    cache = AnswerCache(2 * MEGABYTE)
    gc.collect()
    tracemalloc.start()
    try:
        for seed in range(5000):
            cache.put("a", "1", images(seed), answer(seed))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * cache.max_bytes < taken < 1.2 * cache.max_bytes
    assert cache.bytes <= cache.max_bytes
