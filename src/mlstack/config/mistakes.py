"""Mistakes that a command line and a YAML file share, each worded once."""

from __future__ import annotations

from mlstack.config.keys import Key
from mlstack.config.suggestions import nearest, nearest_key
from mlstack.config.vocabulary import Vocabulary
from mlstack.errors import ConfigError

GENERIC_CHOICES = {
    "model": (
        "any of torchvision: model=torchvision model.name={choice}\nany of timm: model=timm model.name=timm/{choice}"
    ),
    "data": "your own pictures, one folder a class: data=image_folder data.path=FOLDER",
}
EXAMPLES = {"model.name": "convnext_tiny", "input": "photos/", "target": "raspberry-pi-5"}


def unknown_key(name: str, vocabulary: Vocabulary, *, where: str = "", value: str = "VALUE") -> ConfigError:
    """`name` is no key. `where` names the file it stands in; `value` is shown in what to type instead."""
    near = nearest_key(name, vocabulary)
    place = f" in {where}" if where else ""
    meant = [f"did you mean {near}={value}"] if near else []
    if near and (key := vocabulary.keys.get(near)):
        meant = [f"did you mean {near}={value}    ({key.meaning[0].lower() + key.meaning[1:]})"]
    return ConfigError(f"there is no key {name}{place}", key=name, hint="\n".join([*meant, "--help lists every key"]))


def unknown_choice(group: str, choice: str, choices: tuple[str, ...]) -> ConfigError:
    """No file of that name lies in the group's folder."""
    near = nearest(choice, choices)
    meant = [f"did you mean {group}={near}"] if near else []
    named = "NAME" if near else choice
    generic = [GENERIC_CHOICES[group].format(choice=named)] if group in GENERIC_CHOICES else []
    message = f"{group}={choice} is not a choice of the group {group}"
    return ConfigError(message, key=group, allowed=choices, hint="\n".join([*meant, *generic]))


def wrong_type(key: Key, value: object, *, where: str = "") -> ConfigError:
    """The value is not of the key's type."""
    place = f" (in {where})" if where else ""
    unit = f" ({key.unit})" if key.unit else ""
    limits = key.limits.describe()
    allowed = f"{key.describe_type()}{unit}{f': {limits}' if limits else ''}"
    shown = "null" if value is None else value
    return ConfigError(f"{key.name}={shown}{place} has the wrong type", key=key.name, allowed=(allowed,))


def not_a_key(section: str, vocabulary: Vocabulary, *, where: str = "") -> ConfigError:
    """A value was given to a group of keys."""
    place = f" (in {where})" if where else ""
    below = tuple(name for name in vocabulary.keys if name.startswith(f"{section}."))
    return ConfigError(f"{section}{place} is a group of keys, not a key", key=section, allowed=below)


def has_to_be_given(name: str) -> ConfigError:
    """A key without a default has no value."""
    return ConfigError(f"{name} has to be given", key=name, hint=f"such as {name}={EXAMPLES.get(name, 'VALUE')}")


def several_values(name: str, value: str) -> ConfigError:
    """Comma-separated values without `-m`."""
    hint = f"add -m to run once for each value; a list is written '{name}=[{value}]'"
    return ConfigError(f"{name}={value} gives several values to one run", key=name, hint=hint)
