"""Which architectures there are, read from the libraries' sources: a wrong name is refused before torch is imported."""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mlstack.errors import ConfigError, MissingPackageError

OWN_NETWORKS = frozenset({"small_cnn"})  # models/pytorch/small_cnn.py
TIMM_PREFIX = "timm/"
TIMM_PIN = "timm==1.0.31"

# `@register_model` or `@register_model()`, further decorators, then the builder that carries the model's name.
REGISTERED = re.compile(r"^@register_model(?:\(\))?\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def registered_names(package: str) -> frozenset[str]:
    """Names that a model library registers, from the text of `<package>/models/*.py`; empty if it isn't installed."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return frozenset()
    sources = (Path(spec.origin).parent / "models").glob("*.py")
    return frozenset(name for source in sources for name in REGISTERED.findall(source.read_text(encoding="utf-8")))


def check_name(name: str) -> None:
    """Refuse an architecture that is not this package's and that neither torchvision nor timm knows.

    Raises:
        ConfigError: The name is unknown.
        MissingPackageError: A timm name, and timm is not installed.
    """
    if name in OWN_NETWORKS:
        return
    package, _, bare = name.rpartition("/")
    if package not in ("", "timm"):
        raise ConfigError(
            f"model.name={name}: unknown library {package!r}",
            key="model.name",
            hint="write a torchvision name (convnext_tiny) or a timm one (timm/vit_tiny_patch16_224)",
        )
    if package == "timm" and find_spec("timm") is None:
        raise MissingPackageError(TIMM_PIN, needed_for=f"model.name={name}")
    library = package or "torchvision"
    # timm names its pretrained weights after a dot: resnet18.a1_in1k
    known = registered_names(library)
    if bare.split(".")[0] in known or not known:
        return
    near = known if package else known | OWN_NETWORKS
    nearest = difflib.get_close_matches(bare, near, n=3, cutoff=0.4)
    raise ConfigError(
        f"model.name={name}: {library} has no such architecture",
        key="model.name",
        hint="nearest: " + ", ".join(f"{package}/{one}" if package else one for one in nearest) if nearest else "",
    )
