from __future__ import annotations

from math import log2

from mlstack.export.quantize.budget import Search

LAYERS = 54  # as many as a ResNet-50 has


def test_no_layer_too_many_is_left_out_and_few_files_are_measured() -> None:
    for needed in range(LAYERS):

        def drop(left_out: int, needed: int = needed) -> float:
            return 0.0 if left_out >= needed else 1.0

        search = Search(drop, LAYERS, max_drop=0.5)
        assert search.fewest() == needed
        assert len(search.drops) <= 2 * log2(LAYERS) + 2


def test_with_one_layer_in_int8_it_gives_up() -> None:
    search = Search(lambda left_out: 1.0, LAYERS, max_drop=0.5)
    assert search.fewest() is None
    assert max(search.drops) == LAYERS - 1


def test_a_single_layer_is_quantised_or_refused() -> None:
    assert Search(lambda left_out: 0.0, 1, max_drop=0.5).fewest() == 0
    assert Search(lambda left_out: 1.0, 1, max_drop=0.5).fewest() is None
