"""Take a command line apart: flags, which begin with `-`, and overrides, which don't. No Hydra here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlstack.config.suggestions import nearest, nearest_key
from mlstack.config.vocabulary import Vocabulary
from mlstack.errors import ConfigError

FLAGS = {  # in the order of --help; Hydra's own names, so that habits hold
    "-h, --help": "Print this text",
    "--version": "Print the version",
    "-c, --cfg job": "Print the composed config and stop; with --resolve, interpolations resolved",
    "-p, --package NAME": "With --cfg: print only this part, such as trainer",
    "-m, --multirun": "Run once for each combination of comma-separated values: seed=1,2 or 'seed=range(1,4)'",
    "-cd, --config-dir FOLDER": "Your own folder with model/, data/, recipe/ (YAML) and Python files",
}
SHORT = {"-h": "--help", "-c": "--cfg", "-p": "--package", "-m": "--multirun", "-cd": "--config-dir"}
SWITCHES = ("--help", "--version", "--resolve", "--multirun")
WITH_VALUE = ("--cfg", "--package", "--config-dir")
PARTS_OF_CFG = ("job",)


@dataclass
class Arguments:
    """A command line, sorted."""

    overrides: list[str] = field(default_factory=list)
    switches: set[str] = field(default_factory=set)
    cfg: str = ""
    package: str = ""
    config_dirs: list[Path] = field(default_factory=list)


def parse(argv: Sequence[str], vocabulary: Vocabulary) -> Arguments:
    """Sort a command line.

    Args:
        argv: The arguments, without the script's name.
        vocabulary: The command's names, for flags that are meant to be keys (`--epochs 3`).

    Raises:
        ConfigError: For an unknown flag, or a flag without its value.
    """
    arguments = Arguments()
    rest = iter(argv)
    for word in rest:
        flag, _, value = word.partition("=")
        flag = SHORT.get(flag, flag)
        if not word.startswith("-"):
            arguments.overrides.append(word)
        elif flag in SWITCHES:
            arguments.switches.add(flag)
        elif flag in WITH_VALUE:
            _store(arguments, flag, value or next(rest, ""))
        else:
            raise _unknown_flag(flag, value, rest, vocabulary)
    _check(arguments)
    return arguments


def _store(arguments: Arguments, flag: str, value: str) -> None:
    if not value:
        raise ConfigError(
            f"{flag} needs a value", hint=next(f"{name}: {text}" for name, text in FLAGS.items() if flag in name)
        )
    if flag == "--config-dir":
        folder = Path(value).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {value} is not a folder")
        arguments.config_dirs.append(folder.resolve())
    elif flag == "--cfg":
        arguments.cfg = value
    else:
        arguments.package = value


def _check(arguments: Arguments) -> None:
    if arguments.cfg and arguments.cfg not in PARTS_OF_CFG:
        raise ConfigError(f"--cfg {arguments.cfg} is not there", allowed=PARTS_OF_CFG)
    if arguments.cfg and "--multirun" in arguments.switches:
        raise ConfigError("--cfg shows one config and --multirun has many", hint="drop one of the two")
    if not arguments.cfg and (arguments.package or "--resolve" in arguments.switches):
        raise ConfigError("--package and --resolve go with --cfg", hint="add --cfg job")


def _unknown_flag(flag: str, value: str, rest: Iterator[str], vocabulary: Vocabulary) -> ConfigError:
    word = flag.lstrip("-").replace("-", "_")
    setting = word if word in vocabulary.groups else nearest_key(word, vocabulary)
    following = value or next(rest, "")
    shown = following if following and not following.startswith("-") and "=" not in following else "VALUE"
    hint = "--help lists flags and keys"
    if near := nearest(flag, (*SWITCHES, *WITH_VALUE), cutoff=0.75):
        hint = f"did you mean {near}"
    elif setting:
        hint = f"settings have no dashes; did you mean {setting}={shown}"
    return ConfigError(f"there is no flag {flag}", hint=hint)
