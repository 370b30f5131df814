from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlstack.trackers.histograms import BINS, histogram, log_histograms


def test_values_are_counted_in_equal_bins_and_those_that_are_no_numbers_left_out() -> None:
    one = histogram(np.array([[0.0, 1.0, 3.0], [np.nan, np.inf, -np.inf]], np.float32))
    assert one is not None
    assert (one.counts.sum(), one.counts[0], one.counts[-1]) == (3, 1, 1)
    assert (len(one.counts), len(one.edges)) == (BINS, BINS + 1)
    assert (one.edges[0], one.edges[-1], one.total, one.squares) == (0.0, 3.0, 4.0, 10.0)
    assert histogram(np.array([np.nan], np.float32)) is None


def test_where_nothing_shows_them_the_weights_are_not_looked_at() -> None:
    def never() -> Iterator[tuple[str, np.ndarray]]:
        raise AssertionError("asked for the weights")
        yield

    log_histograms([object()], never(), step=1)
