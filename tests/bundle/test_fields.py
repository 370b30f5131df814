from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mlstack.bundle.fields import Fields, parse_object
from mlstack.errors import BundleError

PATH = Path("bundle/metadata.json")


def refused(read: Callable[[Fields], object], text: str) -> str:
    with pytest.raises(BundleError) as caught:
        read(parse_object(text, PATH))
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('"cat"', '"cat"'),
        ('"猫"', '"\\u732b"'),
        ("[1,2]", "[1, 2]"),
        (f'"{"x" * 58}"', f'"{"x" * 58}"'),  # 60 characters with its quotes
        (f'"{"x" * 59}"', f'"{"x" * 56}...'),
    ],
)
def test_a_wrong_value_is_shown_in_sixty_characters_at_most(value: str, shown: str) -> None:
    message = refused(lambda fields: fields.integer("n"), f'{{"n": {value}}}')
    assert message == f"bundle/metadata.json: n has to be an integer of at least 0, not {shown}"


@pytest.mark.parametrize("value", ["1", "true", "null", '""', '"no"', "[]", '["a", 1]', "{}", "[{}, 1]"])
def test_each_kind_of_field_takes_its_own_kind_and_no_other(value: str) -> None:
    readers: dict[str, Callable[[Fields], object]] = {
        "integer": lambda fields: fields.integer("n", minimum=1),
        "number": lambda fields: fields.number("n"),
        "text": lambda fields: fields.text("n"),
        "choice": lambda fields: fields.choice("n", ("no", "yes")),
        "object": lambda fields: fields.object("n"),
        "objects": lambda fields: fields.objects("n"),
        "texts": lambda fields: fields.texts("n"),
    }
    takes = {"1": {"integer", "number"}, '"no"': {"text", "choice"}, "{}": {"object"}}.get(value, set())
    for kind, read in readers.items():
        if kind in takes:
            read(parse_object(f'{{"n": {value}}}', PATH))
        else:
            assert " n has to be " in refused(read, f'{{"n": {value}}}')


def test_an_integer_may_be_its_minimum_and_a_number_finite() -> None:
    fields = parse_object('{"n": 3, "big": 1e308, "digits": 1' + "0" * 400 + ', "list": {"a": null, "b": 2}}', PATH)
    assert fields.integer("n", minimum=3) == 3
    with pytest.raises(BundleError, match="an integer of at least 4, not 3"):
        fields.integer("n", minimum=4)
    assert fields.number("big") == 1e308
    with pytest.raises(BundleError, match="digits has to be a number"):
        fields.number("digits")
    numbers = fields.numbers("list")
    assert numbers["a"] != numbers["a"] and numbers["b"] == 2.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is damaged: "),
        pytest.param("[" * 100_000, "is damaged: ", id="deep"),
        ('{"n": NaN}', "NaN is not JSON"),
        ('{"n": "\\ud800"}', "is damaged: "),
        ("[1]", "a JSON object is expected, not a list"),
        ('"a"', "not a text"),
        ("true", "not true or false"),
        ("null", "not null"),
        ("1.5", "not a number"),
    ],
)
def test_what_is_no_json_object_is_damaged(text: str, words: str) -> None:
    with pytest.raises(BundleError, match=re.escape(words)) as caught:
        parse_object(text, PATH)
    assert "\n" not in caught.value.message


def test_a_missing_or_an_unknown_field_is_named_with_its_place() -> None:
    fields = parse_object('{"models": [{"file": "a"}, {"file": "b", "note": 1}]}', PATH)
    first, second = fields.objects("models")
    assert list(second) == ["file", "note"]
    first.only("file")
    with pytest.raises(BundleError, match=r"models\[1\]\.note is no field of this schema version"):
        second.only("file")
    with pytest.raises(BundleError, match=r"models\[0\]\.size has to be a number, it is missing"):
        first.number("size")
