"""`--help`, printed from the schema's own texts, with nothing beyond the standard library."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from mlstack.config.flags import FLAGS
from mlstack.config.keys import MISSING, Key
from mlstack.config.vocabulary import Vocabulary

WIDTH = 100
INDENT = 2
NO_BREAK = "\N{NO-BREAK SPACE}"
MEANING_COLUMN = 40  # the longest key with its default, `trainer.early_stopping_patience=null`, ends before it


def describe(usage: str, vocabulary: Vocabulary) -> str:
    """The whole text.

    Args:
        usage: What the command does and how it is called: the script's docstring.
        vocabulary: The command's keys and groups.
    """
    blocks = [usage.strip()]
    if vocabulary.groups:
        blocks.append(_block("groups, one file of configs/ each: GROUP=CHOICE", _groups(vocabulary)))
    blocks.append("keys, each with its default: KEY=VALUE")
    for _, keys in groupby(vocabulary.keys.values(), key=lambda key: key.name.rpartition(".")[0]):
        blocks.append("\n".join(_two_columns(*_row(key)) for key in keys))
    blocks.append(_block("flags", FLAGS.items()))
    return "\n\n".join(blocks)


def _block(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([title, *(_two_columns(left, right) for left, right in rows)])


def _groups(vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    for name, group in vocabulary.groups.items():
        yield f"{name}={group.default}", " ".join(group.choices)


def _row(key: Key) -> tuple[str, str]:
    """A key with its default, and its meaning with unit, limits and choices: `(epochs, ≥ 1)`, `[max | min]`."""
    notes = [note.replace(" ", NO_BREAK) for note in (key.unit, key.limits.describe()) if note]
    counted = f" ({', '.join(notes)})" if notes else ""
    choices = f" [{' | '.join(key.limits.choices)}]" if len(key.limits.choices) > 1 else ""
    return f"{key.name}={show(key.default)}", f"{key.meaning}{counted}{choices}"


def show(value: object) -> str:
    """A default as one would type it."""
    if value == MISSING:
        return "…"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _two_columns(left: str, right: str) -> str:
    """A row whose right part is wrapped under itself; a left part that is too long has a line of its own."""
    gap = " " * MEANING_COLUMN
    first = f"{' ' * INDENT}{left}".ljust(MEANING_COLUMN)
    lines = textwrap.wrap(right, WIDTH - MEANING_COLUMN, break_long_words=False)
    head = [first] if len(first) > MEANING_COLUMN else [first + lines.pop(0)]
    text = "\n".join([*(line.rstrip() for line in head), *(gap + line for line in lines)])
    return text.replace(NO_BREAK, " ")
