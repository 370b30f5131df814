"""What may stand on a command's line: the keys of its schema and the choices that lie in `configs/`. No Hydra here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlstack.config.keys import Key, walk

CONFIG_DIR = Path(__file__).resolve().parents[3] / "configs"
DEFAULTS_ENTRY = re.compile(r"^\s*-\s+(\w+)\s*:\s*(\S+)", re.MULTILINE)  # "  - model: resnet18"


@dataclass(frozen=True)
class Group:
    """A folder of `configs/` from which a command line picks one file.

    Attributes:
        default: The choice of the command's own YAML; `null` = none.
        choices: The names of the files, without `.yaml`, sorted.
    """

    default: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Every name that an override of one command may use.

    Attributes:
        keys: The keys by their dotted names.
        groups: The groups by their names; empty for a command that has none.
    """

    keys: Mapping[str, Key]
    groups: Mapping[str, Group]

    @property
    def sections(self) -> frozenset[str]:
        """The names above the keys: `data`, `data.augment`, …"""
        return frozenset(parent for name in self.keys for parent in parents(name))

    def is_open(self, name: str) -> bool:
        """Whether `name` lies below a key that takes anything, as `trainer.lightning.profiler` does."""
        return any(parent in self.keys and self.keys[parent].is_mapping for parent in parents(name))


def parents(name: str) -> list[str]:
    """The names above a dotted one: `a.b.c` gives `a` and `a.b`."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def read_vocabulary(schema: type, config_name: str, config_dirs: Iterable[Path] = ()) -> Vocabulary:
    """Collect the names of a command.

    Args:
        schema: The command's dataclass.
        config_name: The command's YAML in `configs/`, without the suffix; a command without groups has no such file.
        config_dirs: The user's own folders; what lies in them comes before what lies in `configs/`.
    """
    folders = [*config_dirs, CONFIG_DIR]
    files = [path for folder in folders if (path := folder / f"{config_name}.yaml").is_file()]
    entries = DEFAULTS_ENTRY.findall(files[0].read_text(encoding="utf-8")) if files else []
    groups = {name: Group(default, _choices(name, folders)) for name, default in entries}
    return Vocabulary(keys={key.name: key for key in walk(schema)}, groups=groups)


def _choices(group: str, folders: Iterable[Path]) -> tuple[str, ...]:
    names = (
        path.relative_to(folder / group).with_suffix("").as_posix()
        for folder in folders
        for path in (folder / group).rglob("*.yaml")
    )
    return tuple(sorted(set(names)))
