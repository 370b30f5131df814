"""Which keys of `export` belong to an ONNX file of one's own, and which values they may have."""

from __future__ import annotations

from dataclasses import MISSING, fields

from mlstack.config.export import ExportConfig
from mlstack.errors import ConfigError

ONLY_WITH_ONNX = ("images", "classes", "mean", "std", "color", "answers", "image_size", "resize")
ONLY_WITH_RUN = ("run", "checkpoint")


def check_own_model(config: ExportConfig) -> None:
    """Raises ConfigError for a key that the chosen source doesn't know, or for a mean or deviation that can't be."""
    for name in _given(config, ONLY_WITH_RUN if config.onnx else ONLY_WITH_ONNX):
        given = f"{name}={_text(getattr(config, name))}"
        if config.onnx:
            hint = "a bundle is made of a run or of an ONNX file: leave one of them away"
            raise ConfigError(f"{given} and onnx={config.onnx} contradict each other", key=name, hint=hint)
        message = f"{given} is for an ONNX file of your own, and none is named"
        raise ConfigError(message, key=name, hint="name it (onnx=model.onnx), or leave the key away")
    if config.onnx is None:
        return
    _check_statistics(config)
    if config.quantize.mode != "none" and not config.images:
        message = f"quantize.mode={config.quantize.mode} needs pictures to judge the smaller model by"
        raise ConfigError(message, key="images", hint="name some: images=photos/")


def _check_statistics(config: ExportConfig) -> None:
    for name, least in (("mean", 0.0), ("std", 1e-6)):
        values = getattr(config, name)
        if not values or any(not least <= value <= 1 for value in values):
            message = f"{name}={_text(values)}: a number from 0 to 1 for each channel{', above 0' * (name == 'std')}"
            smaller = _text([round(value / 255, 4) for value in values])
            large = values and all(1 <= value <= 255 for value in values)
            hint = f"for pixels from 0 to 255 divide them by 255: {name}={smaller}"
            raise ConfigError(message, key=name, hint=hint if large else "")
    if len(config.mean) != len(config.std):
        message = f"mean={_text(config.mean)} and std={_text(config.std)} are for different numbers of channels"
        raise ConfigError(message, key="std", hint="give one number a channel in both")


def _given(config: ExportConfig, names: tuple[str, ...]) -> list[str]:
    """Those whose value is not the default."""
    defaults = {one.name: one.default if one.default is not MISSING else None for one in fields(config)}
    for one in fields(config):
        if one.default_factory is not MISSING:
            defaults[one.name] = one.default_factory()
    return [name for name in names if getattr(config, name) != defaults[name]]


def _text(value: object) -> str:
    return "[" + ",".join(str(one) for one in value) + "]" if isinstance(value, list) else str(value)
