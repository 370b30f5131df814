"""Read `key=value` and `group=choice` as people type them, and hand Hydra something that it understands.

Most mistakes end here, before Hydra: an unknown key or choice, a value that is missing or of the wrong type. Keys below
an open one (`model.args`, `trainer.lightning`) get Hydra's `++` here, so that nobody has to type it.
"""

from __future__ import annotations

import re

from mlstack.config.keys import Key
from mlstack.config.mistakes import not_a_key, several_values, unknown_choice, unknown_key, wrong_type
from mlstack.config.quoting import is_quoted, is_sweep_function, quote, quote_value, split_values, unquote
from mlstack.config.vocabulary import Vocabulary
from mlstack.errors import ConfigError

PLAIN_CHOICE = re.compile(r"[A-Za-z0-9_./-]+")
FLAG_WORDS = ("true", "false", "yes", "no", "on", "off", "y", "n", "0", "1")


def prepare(argument: str, vocabulary: Vocabulary, *, multirun: bool) -> str:
    """One override in Hydra's grammar.

    Args:
        argument: As typed, its quotes gone with the shell: `data.path=my photos`.
        vocabulary: The command's names.
        multirun: Whether commas separate the values of several runs.

    Raises:
        ConfigError: For an unknown name, a missing value or one of the wrong type.
    """
    if argument.startswith("~"):
        return _deletion(argument, vocabulary)
    name, value = _split(argument, vocabulary)
    if name in vocabulary.groups:
        return f"{name}={_choice(name, value, vocabulary, multirun=multirun)}"
    key = vocabulary.keys.get(name)
    if vocabulary.is_open(name) or (key and key.is_mapping):
        return f"++{name}={value}"
    if key:
        return f"{name}={_value(key, value, multirun=multirun)}"
    if name in vocabulary.sections:
        if not value.strip().startswith("{"):
            raise not_a_key(name, vocabulary)
        return f"{name}={value}"
    raise unknown_key(name, vocabulary, value=value)


def _deletion(argument: str, vocabulary: Vocabulary) -> str:
    """`~model.optimizer_args.momentum` takes back what a recipe has put below an open key."""
    if not vocabulary.is_open(argument[1:]):
        raise ConfigError(f"{argument}: keys and groups cannot be deleted", hint="give another value instead")
    return argument


def _split(argument: str, vocabulary: Vocabulary) -> tuple[str, str]:
    name, equals, value = argument.lstrip("+").partition("=")
    name = name.strip()
    if not equals:
        raise ConfigError(f"{argument} is not an override", key=name, hint=_meant(argument, vocabulary))
    if name.split(".")[0] == "hydra" or name.startswith("hydra/"):
        raise ConfigError(f"{name}: Hydra's own settings are not used here", key=name, hint="run folders: output_dir=…")
    if not value.strip() and (name in vocabulary.groups or name in vocabulary.keys):
        raise ConfigError(f"{name}= has no value", key=name, hint=f"write {name}=VALUE without spaces around the =")
    return name, value


def _meant(argument: str, vocabulary: Vocabulary) -> str:
    for group, found in vocabulary.groups.items():
        if argument in found.choices:
            return f"did you mean {group}={argument}"
    if argument in vocabulary.keys or argument in vocabulary.groups:
        return f"write {argument}=VALUE without spaces around the ="
    return "overrides are written KEY=VALUE; quote what the shell would take apart: 'data.path=my photos'"


def _choice(group: str, value: str, vocabulary: Vocabulary, *, multirun: bool) -> str:
    if multirun and is_sweep_function(value):
        return value
    names = [unquote(name) for name in split_values(value)]
    choices = vocabulary.groups[group].choices
    optional = vocabulary.groups[group].default == "null"
    for name in names:
        if name not in choices and not (optional and name == "null"):
            raise unknown_choice(group, name, choices)
    if len(names) > 1 and not multirun:
        raise several_values(group, value)
    return ",".join(name if PLAIN_CHOICE.fullmatch(name) else quote(name) for name in names)


def _value(key: Key, value: str, *, multirun: bool) -> str:
    if key.is_text:
        if key.limits.choices and "," in value and not multirun:
            raise several_values(key.name, value)
        return quote_value(value, is_list=key.is_list, multirun=multirun)
    if key.is_list or "${" in value or (multirun and is_sweep_function(value)):
        return value
    values = split_values(value)
    for each in values:
        if not _fits(key, unquote(each)):
            raise wrong_type(key, each)
    if len(values) > 1 and not multirun:
        raise several_values(key.name, value)
    return ",".join(unquote(each) if is_quoted(each) else each for each in values)


def _fits(key: Key, text: str) -> bool:
    """Whether a number or a flag is of the key's type."""
    text = text.strip().lower()
    if text == "null":
        return key.optional
    if bool in key.types:
        return text in FLAG_WORDS
    try:
        float(text) if float in key.types else int(text)
    except ValueError:
        return False
    return True
