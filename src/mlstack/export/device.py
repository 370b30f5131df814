"""Small devices: what `configs/device/*.yaml` says about them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mlstack.config.export import TARGETS
from mlstack.config.suggestions import nearest
from mlstack.config.vocabulary import CONFIG_DIR
from mlstack.errors import ConfigError

DEVICES = CONFIG_DIR / "device"
PRECISIONS = ("fp32", "int8", "int8_dynamic", "fp16")


@dataclass(frozen=True)
class Device:
    """One device, as its vendor describes it.

    Attributes:
        name: Of its file.
        title: What people call it.
        memory_mb: All of its memory in MiB; None = the vendor doesn't say, or it is bought apart.
        processor: In words.
        cores: Fast ones, which a model may keep busy; None = not known.
        target: The runtime that uses it best, one of `config.export.TARGETS`.
        precisions: What it computes fast, the best first.
    """

    name: str
    title: str
    memory_mb: int | None
    processor: str
    cores: int | None
    target: str
    precisions: tuple[str, ...]

    @property
    def threads(self) -> int:
        """Threads of one call there: a core each, one where nobody knows."""
        return self.cores or 1


def read_device(which: str, *, folder: Path = DEVICES) -> Device:
    """The device that `target=` names: a file of `configs/device/`, or a .yaml of one's own.

    Raises:
        ConfigError: No such device, or its file has a key that is unknown, missing or wrong; the line names it.
    """
    path = Path(which).expanduser() if which.endswith(".yaml") else folder / f"{which}.yaml"
    if not path.is_file():
        known = sorted(one.stem for one in folder.glob("*.yaml"))
        near = nearest(which, known)
        raise ConfigError(
            f"target={which}: no device of that name",
            key="target",
            allowed=known,
            hint=f"did you mean target={near}?" if near else "or describe yours in a file like those: target=mine.yaml",
        )
    values = _values(path)
    names = [field.name for field in fields(Device) if field.name != "name"]
    for key in values:
        if key not in names:
            near = nearest(key, names)
            hint = f"did you mean {near}?" if near else ""
            raise ConfigError(f"{path}: there is no key {key}", key=key, allowed=names, hint=hint)
    for key in names:
        if key not in values:
            raise ConfigError(f"{path}: {key} is missing", key=key, hint=f"a device has {', '.join(names)}")
    return _checked(path, values)


def _values(path: Path) -> dict[str, object]:
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} can't be read as YAML: {str(error).splitlines()[0]}", key="target") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a list of keys with values", key="target")
    return {str(key): value for key, value in values.items()}


def _checked(path: Path, values: dict[str, object]) -> Device:
    """The device of a file whose keys are the right ones."""

    def refuse(key: str, wanted: str) -> ConfigError:
        return ConfigError(f"{path}: {key}={values[key]} has to be {wanted}", key=key)

    for key in ("title", "processor"):
        if not isinstance(values[key], str) or not values[key]:
            raise refuse(key, "text")
    for key in ("memory_mb", "cores"):
        value = values[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise refuse(key, "a whole number ≥ 1, or null")
    if values["target"] not in TARGETS:
        raise refuse("target", f"one of {', '.join(TARGETS)}")
    precisions = values["precisions"]
    if not isinstance(precisions, list) or not precisions or any(one not in PRECISIONS for one in precisions):
        raise refuse("precisions", f"a list of some of {', '.join(PRECISIONS)}")
    return Device(**{**values, "name": path.stem, "precisions": tuple(precisions)})  # type: ignore[arg-type]
