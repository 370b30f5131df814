from __future__ import annotations

import pytest

from mlstack.export.card_text import bullets, code, markdown_table, plain, share, size


def test_nothing_in_a_text_is_read_as_markdown_and_it_stays_one_line() -> None:
    assert plain("a_b*c | <d> [e](f)\n`g` \\ #h & ~i $j") == (r"a\_b\*c \| \<d\> \[e\](f) \`g\` \\ \#h \& \~i \$j")


def test_blocks_lists_and_tables_are_markdown() -> None:
    assert code("x = 1", "python") == "```python\nx = 1\n```"
    assert bullets("a", "b") == "- a\n- b"
    assert markdown_table(["name", "n", "m"], [["a", "1", "2"], ["b", "3", "4"]]).splitlines() == [
        "| name | n | m |",
        "| --- | ---: | ---: |",
        "| a | 1 | 2 |",
        "| b | 3 | 4 |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 %"),
        (0.98321, "98.32 %"),
        (0.99994, "99.99 %"),
        (0.99996, "99.996 %"),
        (0.99999, "99.999 %"),
        (0.9999999, "99.99999 %"),
        (1 - 1e-12, "100.00000000 %"),  # after eight digits it gives up
        (1.0, "100.00 %"),
    ],
)
def test_a_share_is_a_hundred_percent_only_where_it_is_whole(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (44_712_345, "44.7 MB"),
        (99_949_999, "99.9 MB"),
        (99_950_000, "100 MB"),
        (1_234_567_890, "1,235 MB"),
    ],
)
def test_bytes_are_written_as_people_do(count: int, text: str) -> None:
    assert size(count) == text
