"""One line a key: its default, its meaning, its unit and its limits, all in the dataclass field that declares it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

MISSING = "???"  # the default of a key that has to be given (Hydra's own mark)


TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a key accepts beyond its type. `None` and `()` mean no limit.

    Attributes:
        choices: The allowed values of a text key.
        aliases: Other spellings, each with the choice that it stands for.
        minimum: The least number allowed.
        above: A number that the value must exceed.
        maximum: The greatest number allowed.
        besides: Numbers outside the range that are allowed all the same (`-1` = all).
        path: Whether the value is a path (it may hold anything that a file system allows).
    """

    choices: tuple[str, ...] = ()
    aliases: dict[str, str] = dataclasses.field(default_factory=dict)
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    besides: tuple[float, ...] = ()
    path: bool = False

    def accepts(self, number: float) -> bool:
        """Whether a number lies within the limits; NaN and infinity never do."""
        if not math.isfinite(number):
            return False
        return number in self.besides or (
            (self.minimum is None or number >= self.minimum)
            and (self.above is None or number > self.above)
            and (self.maximum is None or number <= self.maximum)
        )

    def describe(self) -> str:
        """The range in words: `≥ 1`, `0 to 1`, `> 0, or -1`; empty where there is no limit."""
        if self.minimum is not None and self.maximum is not None:
            text = f"{self.minimum:.10g} to {self.maximum:.10g}"
        else:
            bounds = (("≥", self.minimum), (">", self.above), ("≤", self.maximum))
            text = ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
        return ", or ".join([text, *(f"{number:g}" for number in self.besides)]) if text else ""


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of the schema, as `--help`, the checks and the suggestions see it."""

    name: str  # with dots: trainer.max_epochs
    type: Any  # the annotation: int, str | None, dict[str, Any], …
    default: Any
    meaning: str
    unit: str
    limits: Limits

    @property
    def types(self) -> tuple[Any, ...]:
        """The types that a value may have, `None` apart: `(int, float)` for `int | float | None`."""
        members = get_args(self.type) if isinstance(self.type, UnionType) else (self.type,)
        return tuple(member for member in members if member is not NoneType)

    @property
    def optional(self) -> bool:
        return NoneType in get_args(self.type)

    @property
    def is_list(self) -> bool:
        return get_origin(self.types[0]) is list

    @property
    def is_mapping(self) -> bool:
        """Whether any key may stand below this one (`trainer.lightning.…`)."""
        return get_origin(self.types[0]) is dict

    @property
    def is_text(self) -> bool:
        """Whether the value, or each of its elements, is text."""
        return str in self.types or (self.is_list and get_args(self.types[0]) == (str,))

    def describe_type(self) -> str:
        """What the key takes, in words: `a whole number`, `true or false`, `text, or null`."""
        if self.is_list:
            words = "a list of texts, [a,b]" if self.is_text else "a list of numbers, [0.5,0.5]"
        elif self.is_mapping:
            words = "a mapping, {a:1,b:2}"
        else:
            words = " or ".join(TYPE_WORDS[member] for member in self.types)
        return f"{words}, or null" if self.optional else words


def key(default: Any, meaning: str, *, unit: str = "", **limits: Any) -> Any:
    """Declare a key of the schema. `limits` are the fields of `Limits`."""
    metadata = {"meaning": meaning, "unit": unit, "limits": Limits(**limits)}
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def group(schema: type) -> Any:
    """Declare a group of keys inside another one."""
    return dataclasses.field(default_factory=schema)


def walk(schema: type, prefix: str = "") -> Iterator[Key]:
    """Every key of a schema with its dotted name, in the order of declaration."""
    types = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name = f"{prefix}{field.name}"
        kind = types[field.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from walk(kind, f"{name}.")
            continue
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        yield Key(name=name, type=kind, default=default, **field.metadata)
