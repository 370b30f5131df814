"""Paddle's ImageNet weights. They are pickles, which may run any code: only arrays and plain containers are let in."""

from __future__ import annotations

import codecs
import pickle
import sys
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddle import nn
from paddle.utils import download
from paddle.vision import models

from mlstack.errors import ConfigError, DownloadError
from mlstack.models.catalog import PADDLE_SPELLINGS
from mlstack.models.paddle.blocks import MobileNetwork

# What a pickle of NumPy arrays names; older ones write numpy.core.
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
}
_arrays = import_module("numpy._core.multiarray")
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    for _name in ("_reconstruct", "scalar"):
        ALLOWED[(_module, _name)] = getattr(_arrays, _name)


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, numbers, strings and containers; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[(module, name)]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights") from None


def load_pretrained(network: nn.Layer, name: str) -> None:
    """Give a whole network, head included, its ImageNet weights.

    Raises:
        ConfigError: They don't fit the network, because of `model.args`.
        DownloadError: They can't be had.
    """
    url, md5 = _source(name)
    place = Path(download.WEIGHTS_HOME) / url.rsplit("/", 1)[-1]
    try:
        path = download.get_weights_path_from_url(url, md5)
        weights = read_weights(Path(path))
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DownloadError(
            f"the pretrained weights of {name} can't be downloaded: {reason}",
            hint=f"train from scratch: model.pretrained=false\nor put {place.name} into {place.parent}",
        ) from error
    _set(network, weights, name)


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a `.pdparams` file by their names, in its order.

    Raises:
        pickle.UnpicklingError: The file holds anything but arrays and plain containers.
    """
    with path.open("rb") as file:
        content = ArrayUnpickler(file, encoding="latin1").load()
    # An array, or in files of Paddle 2 and later (its name, the array); beside them a table of names.
    values = {name: value[1] if isinstance(value, tuple) else value for name, value in content.items()}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _source(name: str) -> tuple[str, str]:
    """Address and MD5 of an architecture's weights. `catalog.check_pretrained` has seen that there are some."""
    urls = sys.modules[getattr(models, name).__module__].model_urls
    return next(found for key, found in urls.items() if PADDLE_SPELLINGS.get(key, key) == name)


def _set(network: nn.Layer, weights: dict[str, NDArray[Any]], name: str) -> None:
    """Take the weights by name; those of a network that is written here, by their place in paddle.vision's."""
    known = network.state_dict()
    if isinstance(network, MobileNetwork):
        weights = {key: weights[place] for key, place in zip(known, getattr(models, name)().state_dict(), strict=True)}
    wrong = [key for key, old in known.items() if key not in weights or list(old.shape) != list(weights[key].shape)]
    if wrong:
        raise ConfigError(
            f"the pretrained weights of {name} don't fit: {wrong[0]} and {len(wrong) - 1} more",
            key="model.pretrained",
            hint="they were made for ImageNet's 224 pixels and for the network without model.args",
        )
    for key, old in known.items():
        old.set_value(weights[key].astype(old.numpy().dtype))
