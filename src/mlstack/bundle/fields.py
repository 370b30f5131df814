"""Typed reading of a JSON object that somebody else wrote: each complaint is one line that names file and field."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mlstack.errors import BundleError

AGAIN = "copy the bundle again, or export it again: python scripts/export.py run=latest"
MISSING = object()


def parse_object(text: str, path: Path) -> Fields:
    """The JSON object that a text holds.

    Raises:
        BundleError: It is cut off, not JSON, not an object, or says NaN, Infinity or half a character.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is damaged: {str(error).splitlines()[0]}", hint=AGAIN) from error
    if not isinstance(value, dict):
        raise BundleError(f"{path} is damaged: a JSON object is expected, not {_kind(value)}", hint=AGAIN)
    return Fields(value, path=path)


class Fields:
    """The fields of one JSON object, read by type.

    Args:
        values: The object.
        path: The file it comes from.
        at: Where in the file it stands, such as `models[0]`; empty for the whole.
    """

    def __init__(self, values: Mapping[str, Any], *, path: Path, at: str = "") -> None:
        self.values = values
        self.path = path
        self.at = at

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def where(self, name: str) -> str:
        """The field's full name, such as `input.height`."""
        return f"{self.at}.{name}" if self.at else name

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Raise the one line that tells what stands there and what should."""
        value = self.values.get(name, MISSING)
        found = "it is missing" if value is MISSING else f"not {_shown(value)}"
        raise BundleError(f"{self.path}: {self.where(name)} has to be {wanted}, {found}", hint=AGAIN)

    def only(self, *names: str) -> None:
        """Refuse fields that have another name than these."""
        for name in self.values:
            if name not in names:
                raise BundleError(f"{self.path}: {self.where(name)} is no field of this schema version", hint=AGAIN)

    def text(self, name: str, *, wanted: str = "text") -> str:
        value = self.values.get(name, MISSING)
        if not isinstance(value, str) or not value:
            self.refuse(name, wanted)
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.values.get(name, MISSING)
        if not isinstance(value, str) or value not in choices:
            self.refuse(name, f"one of {', '.join(choices)}")
        return value

    def integer(self, name: str, *, minimum: int = 0) -> int:
        value = self.values.get(name, MISSING)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            self.refuse(name, f"an integer of at least {minimum}")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self.values.get(name, MISSING)
        if not isinstance(value, int | float) or isinstance(value, bool) or not _is_finite(value):
            self.refuse(name, "a number")
        return float(value)

    def numbers(self, name: str) -> dict[str, float]:
        """An object of numbers; null stands for NaN, a metric that could not be computed."""
        inner = self.object(name)
        return {key: math.nan if inner.values[key] is None else inner.number(key) for key in inner}

    def object(self, name: str) -> Fields:
        value = self.values.get(name, MISSING)
        if not isinstance(value, dict):
            self.refuse(name, "an object")
        return Fields(value, path=self.path, at=self.where(name))

    def objects(self, name: str) -> list[Fields]:
        """A list of objects, at least one."""
        value = self.values.get(name, MISSING)
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            self.refuse(name, "a list of objects, at least one")
        where = self.where(name)
        return [Fields(one, path=self.path, at=f"{where}[{row}]") for row, one in enumerate(value)]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, at least one."""
        value = self.values.get(name, MISSING)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            self.refuse(name, "a list of texts, at least one")
        return tuple(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an integer of hundreds of digits
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _shown(value: Any) -> str:
    """A value for a message: short, and on one line."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else text[:57] + "..."
