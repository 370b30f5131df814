"""From overrides to a typed config: quote, compose with Hydra, convert, check. Hydra leaves nothing behind.

    config = compose(Config, ["model=resnet34", "data=digits", "trainer.max_epochs=3"])

Only `hydra.compose` is used, never `hydra.main`: no folder of Hydra's own, no logging set-up, and no global state that
would make Lightning start the processes of a distributed run the Hydra way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mlstack.config.checks import check
from mlstack.config.composition_errors import explain
from mlstack.config.keys import walk
from mlstack.config.overrides import prepare
from mlstack.config.quoting import quote
from mlstack.config.vocabulary import CONFIG_DIR, Vocabulary, read_vocabulary
from mlstack.errors import ConfigError

T = TypeVar("T")
EMPTY = Path(__file__).parent  # a folder without YAML


def compose(
    schema: type[T],
    overrides: Sequence[str] = (),
    *,
    config_name: str = "config",
    config_dirs: Sequence[Path] = (),
    base: Path | None = None,
) -> T:
    """Compose and check a config.

    Args:
        schema: The command's dataclass.
        overrides: `key=value` and `group=choice`, as on the command line.
        config_name: The YAML in `configs/` that the command starts from, without the suffix; it need not exist.
        config_dirs: The user's own folders; what lies in them comes before what lies in `configs/`.
        base: A stored config (a run's `config.yaml`) to compose over, instead of `configs/`; there are no groups then.

    Raises:
        ConfigError: For the first mistake found.
    """
    node = compose_node(schema, overrides, config_name=config_name, config_dirs=config_dirs, base=base)
    return to_typed(node, schema)


def compose_node(
    schema: type,
    overrides: Sequence[str] = (),
    *,
    config_name: str = "config",
    config_dirs: Sequence[Path] = (),
    base: Path | None = None,
) -> DictConfig:
    """Like `compose`, short of conversion and checks: interpolations stand as they were written."""
    vocabulary = read_vocabulary(schema, config_name, config_dirs)
    if base is not None:
        vocabulary = Vocabulary(vocabulary.keys, groups={})
    prepared = [prepare(override, vocabulary, multirun=False) for override in overrides]
    # Hydra takes each folder in configs/ for a group: a command without groups may still have a key called data.
    folders = [*config_dirs, CONFIG_DIR] if vocabulary.groups or base is not None else [EMPTY]
    with _explained(vocabulary), _hydra(folders) as search_path:
        primary = _register(schema, config_name, base, has_file=bool(vocabulary.groups))
        return hydra.compose(primary, [*search_path, *prepared])


def to_typed(node: DictConfig, schema: type[T]) -> T:
    """The dataclass of a composed config, with aliases and `~` resolved, checked."""
    with _explained(Vocabulary({key.name: key for key in walk(schema)}, groups={})):
        config = cast(T, OmegaConf.to_object(node))
    check(config)
    return config


def to_yaml(config: object) -> str:
    """The YAML text of a typed config, each key with its final value."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def show_node(node: DictConfig, *, package: str, resolve: bool) -> str:
    """The text of `--cfg job`.

    Raises:
        ConfigError: When there is no such package.
    """
    part = OmegaConf.select(node, package) if package else node
    if not isinstance(part, DictConfig):
        groups = [str(name) for name in node if isinstance(OmegaConf.select(node, str(name)), DictConfig)]
        raise ConfigError(f"--package {package} is no group of keys", allowed=groups)
    text = OmegaConf.to_yaml(part, resolve=resolve).rstrip()
    return f"# @package {package}\n{text}" if package else text


def expand_sweep(
    schema: type, overrides: Sequence[str], *, config_name: str, config_dirs: Sequence[Path] = ()
) -> list[list[str]]:
    """The overrides of each run of a sweep: the product of all values, the last key varying fastest.

    Raises:
        ConfigError: When an override cannot be read.
    """
    vocabulary = read_vocabulary(schema, config_name, config_dirs)
    prepared = [prepare(override, vocabulary, multirun=True) for override in overrides]
    with _explained(vocabulary), _hydra([*config_dirs, CONFIG_DIR]):
        parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(prepared)
        values = [
            [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()]
            if each.is_sweep_override()
            else [text]
            for each, text in zip(parsed, prepared, strict=True)
        ]
    for text, each in zip(prepared, values, strict=True):
        if not each:
            raise ConfigError(f"{text} gives no run: nothing matches")
    return [list(job) for job in product(*values)]


@contextmanager
def _hydra(folders: Sequence[Path]) -> Iterator[list[str]]:
    """Hydra for the length of a `with` block; gives the override that adds the folders after the first one."""
    first, *others = (folder.resolve() for folder in folders)
    with hydra.initialize_config_dir(str(first), version_base="1.3"):
        paths = ",".join(quote(f"file://{folder}") for folder in others)
        yield [f"hydra.searchpath=[{paths}]"] if paths else []


def _register(schema: type, config_name: str, base: Path | None, *, has_file: bool) -> str:
    """Put the schema, with `base` merged into it, where Hydra finds it; return the name of the primary config.

    Hydra looks for the primary config in the first folder only, which may be the user's own: so the primary config is
    a node that does nothing but include the command's YAML, wherever that lies.
    """
    node: Any = schema if base is None else OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.load(base))
    store = ConfigStore.instance()
    store.store(name=f"{config_name}_schema", node=node)
    store.store(name="start", node={"defaults": [config_name if has_file else f"{config_name}_schema", "_self_"]})
    return "start"


@contextmanager
def _explained(vocabulary: Vocabulary) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and the YAML reader raise into one `ConfigError`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise explain(error, vocabulary) from error
