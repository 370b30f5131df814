"""What Hydra, OmegaConf and the YAML reader raise, as one message that names the key and the file."""

from __future__ import annotations

import re

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    GrammarParseError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import MarkedYAMLError

from mlstack.config.mistakes import has_to_be_given, not_a_key, unknown_choice, unknown_key, wrong_type
from mlstack.config.vocabulary import Vocabulary
from mlstack.errors import ConfigError

IN_FILE = re.compile(r"^In '([^']+)': (?:\w+ raised while composing config:\n)?")
FULL_KEY = re.compile(r"full_key: ([\w.]+)")
VALUE = re.compile(r"Value '(.*?)' of type|Could not override '(.*?)'")
NO_SUCH_KEY = re.compile(r"^Key '\w+' not in", re.MULTILINE)


def explain(error: Exception, vocabulary: Vocabulary) -> ConfigError:
    """The `ConfigError` for an exception raised during composition.

    Args:
        error: An exception of Hydra, OmegaConf or the YAML reader.
        vocabulary: The command's names, for the nearest right one.
    """
    if isinstance(error, MissingConfigException):
        return _missing_file(error, vocabulary)
    if isinstance(error, OverrideParseException):
        hint = "lists are written 'key=[a,b]', mappings 'key={a:1,b:2}'; quote them for the shell"
        return ConfigError(f"cannot read {error.override}", hint=hint)
    if isinstance(error, MarkedYAMLError):
        return _broken_yaml(error)
    return _misfit(error, vocabulary)


def _missing_file(error: MissingConfigException, vocabulary: Vocabulary) -> ConfigError:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    if group in vocabulary.groups:
        return unknown_choice(group, choice, vocabulary.groups[group].choices)
    return ConfigError(str(error).splitlines()[0])


def _broken_yaml(error: MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark
    place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}" if mark else "a YAML file"
    return ConfigError(f"{place} is not YAML: {error.problem or error.context}")


def _misfit(error: Exception, vocabulary: Vocabulary) -> ConfigError:
    """A key or a value that does not fit the schema."""
    file = IN_FILE.match(str(error))
    cause = error.__cause__
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        error = cause  # "Error merging override …" says less than what it comes from
    text = str(error)
    where = f"{file[1]}.yaml" if file else ""
    found = FULL_KEY.search(text)
    name = found[1] if found else ""
    if isinstance(error, MissingMandatoryValue):
        return has_to_be_given(name)
    if NO_SUCH_KEY.search(text) and name:
        if name == where.split("/")[0]:  # the file's content landed below its group's name
            return ConfigError(f"{where} has to begin with the line: # @package _global_", key=name)
        return unknown_key(name, vocabulary, where=where)
    if isinstance(error, InterpolationResolutionError | GrammarParseError):
        return ConfigError(f"{name}: {text.splitlines()[0]}" if name else text.splitlines()[0], key=name)
    if name in vocabulary.keys:
        return wrong_type(vocabulary.keys[name], _value(error, text), where=where)
    if name in vocabulary.sections:
        return not_a_key(name, vocabulary, where=where)
    first_line = IN_FILE.sub("", text).splitlines()[0]
    return ConfigError(f"{f'{where}: ' if where else ''}{first_line}", key=name)


def _value(error: Exception, text: str) -> object:
    if isinstance(error, ValidationError):
        return error.value
    quoted = VALUE.search(text)
    return (quoted[1] or quoted[2]) if quoted else "…"
