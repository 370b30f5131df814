from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mlstack.config.quoting import quote, quote_value, split_values

ANY_FILE_SYSTEM_ALLOWS = [
    "照片",
    "img(1).jpg",
    "a=b",
    "~",
    "~backup",
    "/a b/c,d",
    "C:\\photos\\",
    "it's",
    'say "x"',
    "a\\'b",
    "\\\\server\\share",
    "[1].png",
    "{x}",
    "a:b",
    "  two  spaces  ",
    "100%",
    "#1",
    "true",
    "1e3",
    "$HOME",
    "x\\\\",
]


def read_by_hydra(text: str) -> object:
    return OverridesParser.create().parse_override(f"key={text}").value()


@pytest.mark.parametrize("path", ANY_FILE_SYSTEM_ALLOWS)
def test_a_path_reaches_hydra_letter_for_letter(path: str) -> None:
    assert read_by_hydra(quote_value(path, is_list=False, multirun=False)) == path


@pytest.mark.parametrize("path", [path for path in ANY_FILE_SYSTEM_ALLOWS if "," not in path and path == path.strip()])
def test_a_list_of_paths_stays_a_list(path: str) -> None:
    assert read_by_hydra(quote_value(f"[{path},b]", is_list=True, multirun=False)) == [path, "b"]


def test_a_bare_text_becomes_a_list_of_one() -> None:
    assert read_by_hydra(quote_value("a,b.jpg", is_list=True, multirun=False)) == ["a,b.jpg"]
    assert read_by_hydra(quote_value("[]", is_list=True, multirun=False)) == []


@pytest.mark.parametrize("value", ["'a b'", '"a b"', "null", r"'it\'s'"])
def test_what_is_quoted_or_null_stays_as_it_is(value: str) -> None:
    assert quote_value(value, is_list=False, multirun=False) == value


@pytest.mark.parametrize("value", ["choice(a,b)", "range(1,4)", "glob(res*)", "shuffle(a,b)"])
def test_sweep_functions_stay_functions_in_a_sweep_only(value: str) -> None:
    assert quote_value(value, is_list=False, multirun=True) == value
    assert quote_value(value, is_list=False, multirun=False) == quote(value)


def test_in_a_sweep_commas_separate_the_values() -> None:
    assert quote_value("a b,'c,d',e", is_list=False, multirun=True) == "'a b','c,d','e'"
    assert quote_value("[a,b],[c]", is_list=True, multirun=True) == "['a','b'],['c']"


def test_values_split_at_commas_outside_quotes_and_lists() -> None:
    assert split_values("a,'b,c',[d,e],f") == ["a", "'b,c'", "[d,e]", "f"]
