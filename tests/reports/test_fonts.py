from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlstack.reports import fonts
from mlstack.reports.fonts import DEFAULT_FAMILY, lettering

MakeFont = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def nothing_said_yet() -> None:
    fonts._reported.clear()


def test_latin_greek_and_signs_need_no_other_font(capsys: pytest.CaptureFixture[str]) -> None:
    letters = lettering(["cat", "naïve", "αβγ", "✗ → –"], fonts=[])
    assert letters.families == (DEFAULT_FAMILY,)
    assert not letters.missing
    assert capsys.readouterr().err == ""


def test_a_font_that_has_the_characters_is_taken(make_font: MakeFont, capsys: pytest.CaptureFixture[str]) -> None:
    letters = lettering(["猫", "dog 狗"], fonts=[make_font("No Cat", "马"), make_font("Cat And Dog", "猫狗")])
    assert letters.families == (DEFAULT_FAMILY, "Cat And Dog")
    assert letters.names(["猫", "dog 狗"]) == ["猫", "dog 狗"]
    assert capsys.readouterr().err == ""


def test_two_fonts_complete_each_other(make_font: MakeFont) -> None:
    letters = lettering(["猫狗"], fonts=[make_font("Only Cat", "猫"), make_font("Only Dog", "狗")])
    assert letters.families == (DEFAULT_FAMILY, "Only Cat", "Only Dog")
    assert not letters.missing


def test_without_a_font_a_class_goes_by_its_number_and_a_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str],
) -> None:
    letters = lettering(["cat", "狗"], fonts=[])
    assert letters.names(["cat", "狗"]) == ["cat", "class 1"]
    assert letters.write("狗.jpg") == "[U+72D7].jpg"
    message = capsys.readouterr().err
    assert "狗" in message
    assert "apt-get install fonts-noto-cjk" in message


def test_missing_fonts_are_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("狗", "狗", "猫"):
        lettering([name], fonts=[])
    assert capsys.readouterr().err.count("no installed font") == 1


def test_a_broken_font_file_is_passed_over(tmp_path: Path, make_font: MakeFont) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    assert lettering(["狗"], fonts=[broken, tmp_path / "gone.ttf", make_font("Whole", "狗")]).families[-1] == "Whole"


def test_line_breaks_in_a_name_become_spaces() -> None:
    assert lettering(["a\nb\tc"], fonts=[]).write("a\nb\tc") == "a b c"


def test_preferred_fonts_come_first_whatever_their_folder() -> None:
    paths = [Path("/a/other.ttf"), Path("/b/wqy-microhei.ttc"), Path("/c/NotoSansCJK-Regular.ttc")]
    assert [path.name for path in sorted(paths, key=fonts._place)] == [
        "NotoSansCJK-Regular.ttc",
        "wqy-microhei.ttc",
        "other.ttf",
    ]


def test_the_fonts_of_this_machine_can_be_listed_without_those_of_matplotlib() -> None:
    assert all("mpl-data" not in path.parts for path in fonts._installed())
