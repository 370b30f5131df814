from __future__ import annotations

import pytest

from mlstack.reports.text_width import display_width, pad, shorten


@pytest.mark.parametrize(("text", "width"), [("", 0), ("cat", 3), ("猫", 2), ("猫 cat", 6), ("e\u0301", 1), ("ｱ", 1)])
def test_wide_characters_take_two_columns_and_marks_none(text: str, width: int) -> None:
    assert display_width(text) == width


def test_padding_counts_columns_and_not_characters() -> None:
    assert pad("猫", 4) == "猫  "
    assert pad("猫", 4, right=True) == "  猫"


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("tabby", 5, "tabby"),
        ("tabby cat", 5, "ta…at"),
        ("tabby cat", 6, "tab…at"),
        ("金毛寻回犬", 10, "金毛寻回犬"),
        ("金毛寻回犬", 7, "金…犬"),
        ("tabby", 1, "…"),
    ],
)
def test_a_long_text_loses_its_middle(text: str, width: int, short: str) -> None:
    assert shorten(text, width) == short
    assert display_width(short) <= width
