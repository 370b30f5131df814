"""Fetch a data set before training needs it; a download that was cut off goes on where it stopped.

    python scripts/download.py data=cifar10                       # into data/cifar10
    python scripts/download.py data=cifar10 data.path=/datasets/cifar10
    python scripts/download.py data=cifar10 'data.mirrors=[https://mirror.example/cifar]'
    python scripts/download.py clean=true                         # delete archives, partial files

It shows progress, verifies checksums and prints where the set lies.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import DownloadConfig

    run("mlstack.commands.download:download", DownloadConfig, config_name="download", usage=__doc__)
