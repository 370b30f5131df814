"""Which data sets there are, and the one function that loads any of them."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset
from mlstack.datasets.shares import with_class_shares
from mlstack.errors import ConfigError

# name → module:function. A reader is imported only when it is asked for.
READERS = {
    "digits": "mlstack.datasets.digits:load",
    "fashion_mnist": "mlstack.datasets.fashion_mnist:load",
    "cifar10": "mlstack.datasets.cifar:load",
    "cifar100": "mlstack.datasets.cifar:load",
    "imagenet": "mlstack.datasets.imagenet:load",
    "image_folder": "mlstack.datasets.image_folder:load",
    "image_table": "mlstack.datasets.image_table:load",
    "journal": "mlstack.datasets.journal:load",
}
DATASETS = tuple(READERS)


def load_dataset(config: DataConfig) -> Dataset:
    """The data set that `config.target`, or else `config.name`, asks for.

    Image size, channels, mean, standard deviation and class names follow from the data unless the config gives them.
    `data.class_shares` thins the training images of any of them.

    Raises:
        ConfigError: Unknown name or target, or a setting that contradicts the data.
        DataError: Missing, unreadable or inconsistent images.
        DownloadError: The set isn't here and could not be fetched.
    """
    if config.target:
        from mlstack.datasets.custom import load_custom

        return with_class_shares(load_custom(config), config)
    return with_class_shares(_reader(config.name)(config), config)


def _reader(name: str) -> Callable[[DataConfig], Dataset]:
    if name not in READERS:
        nearest = get_close_matches(name, READERS, n=1)
        hint = f"did you mean data.name={nearest[0]}?" if nearest else "your own set: data.target=module:callable"
        raise ConfigError(f"there is no data set named {name!r}", key="data.name", allowed=DATASETS, hint=hint)
    module, function = READERS[name].split(":")
    reader: Callable[[DataConfig], Dataset] = getattr(import_module(module), function)
    return reader
