"""Quote text values before Hydra's lexer sees them: it stops at `照片`, `img(1).jpg`, `a=b`, `~` and much else.

A value that somebody has quoted already stays as it is, and so do interpolations (`${oc.env:HOME}/photos`): OmegaConf
resolves those inside quotes too.
"""

from __future__ import annotations

import re

QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""
ELEMENT = re.compile(rf"(?:^|,)\s*({QUOTED}|\[.*?\]|[^,]*)\s*(?=,|$)", re.DOTALL)
SWEEP_FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag)\(.*\)", re.DOTALL)


def quote(text: str) -> str:
    """`text` in single quotes, so that Hydra reads exactly `text`."""
    # Hydra takes a backslash literally, except in a row of them that ends at a quote: that row is doubled.
    escaped = re.sub(r"(\\*)('|\Z)", lambda row: row[1] * 2 + (r"\'" if row[2] else ""), text)
    return f"'{escaped}'"


def is_quoted(text: str) -> bool:
    return re.fullmatch(QUOTED, text.strip(), re.DOTALL) is not None


def is_sweep_function(text: str) -> bool:
    """Whether a value is one of Hydra's functions that stand for several values: `range(1,4)`, `glob(res*)`."""
    return SWEEP_FUNCTION.fullmatch(text.strip()) is not None


def split_values(text: str) -> list[str]:
    """Split at the commas that stand outside quotes and lists: `a,'b,c',[d,e]` gives three values."""
    return [element.rstrip() for element in ELEMENT.findall(text)]


def unquote(text: str) -> str:
    """The inside of a quoted value; any other value as it is."""
    return text.strip()[1:-1] if is_quoted(text) else text


def quote_text(value: str) -> str:
    """A text value, quoted unless it is quoted or `null`."""
    return value if is_quoted(value) or value.strip().lower() == "null" else quote(value)


def quote_value(value: str, *, is_list: bool, multirun: bool) -> str:
    """The value of a text key as Hydra has to see it.

    Args:
        value: What stands behind the `=`.
        is_list: Whether the key takes a list of texts; one bare text then becomes a list of one.
        multirun: Whether commas separate the values of several runs; else they belong to the text.
    """
    if multirun and is_sweep_function(value):
        return value
    if multirun and (is_quoted(value) or len(split_values(value)) > 1):
        return ",".join(quote_value(each, is_list=is_list, multirun=False) for each in split_values(value))
    if not is_list:
        return quote_text(value)
    if value.startswith("[") and value.endswith("]"):
        elements = split_values(value[1:-1]) if value[1:-1].strip() else []
        return "[" + ",".join(quote_text(element) for element in elements) + "]"
    return value if value.strip().lower() == "null" else f"[{quote_text(value)}]"
