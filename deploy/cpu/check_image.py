"""Is everything in the `serve` image that the service needs? A build of deploy/cpu/Dockerfile asks, and fails if not:

    docker run --rm -v ./deploy/cpu:/check:ro --entrypoint python ml-serve:latest /check/check_image.py

Loads every library and every module of the service, and decodes a picture of each kind that is taken. Two seconds.
"""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import ssl
import sys
import sysconfig
from pathlib import Path

import numpy as np
from PIL import Image

import mlstack
from mlstack.datasets.decode import PictureRule
from mlstack.serving.picture_headers import FORMATS

ROOMS = ("bundle", "config", "monitoring", "serving", "utils")
MODES = {"JPEG": ("L", "RGB", "CMYK"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "WEBP": ("RGB", "RGBA")}


def main() -> None:
    assert os.getuid() != 0, "asked as root"
    libraries = load_libraries()
    modules = import_rooms()
    pictures = decode_pictures()
    assert ssl.create_default_context().get_ca_certs(), "no certificates"
    print(f"{libraries} libraries, {modules} modules, {pictures} kinds of pictures: all there")


def load_libraries() -> int:
    """Import every extension module of the standard library and of the packages."""
    names = set()
    for folder in (Path(sysconfig.get_path("stdlib"), "lib-dynload"), Path(sysconfig.get_path("platlib"))):
        for path in folder.rglob("*.*.so"):  # with a tag of the Python that they are for; others are plain libraries
            module = path.relative_to(folder).with_name(path.name.partition(".")[0])
            names.add(".".join(module.parts))
    for name in names:
        importlib.import_module(name)
    return len(names)


def import_rooms() -> int:
    """Import every module that a service may."""
    before = len(sys.modules)
    for room in ROOMS:
        package = importlib.import_module(f"mlstack.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("mlstack.commands.serve")
    return len(sys.modules) - before


def decode_pictures() -> int:
    """Encode and decode a picture of every kind."""
    rule = PictureRule((24, 24), 24, 3, "stretch")
    kinds = [(form, mode) for form in FORMATS for mode in MODES.get(form, ("L", "RGB"))]
    for form, mode in kinds:
        buffer = io.BytesIO()
        Image.new(mode, (48, 48)).save(buffer, form)
        pixels = rule.read_bytes(buffer.getvalue())
        assert pixels.shape == (24, 24, 3) and pixels.dtype == np.uint8, (form, mode)
    return len(kinds)


if __name__ == "__main__":
    assert mlstack.__version__
    main()
