"""Which architectures there are, read from the libraries' sources: no framework is imported to refuse a wrong name."""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mlstack.config.trainer import ENGINES
from mlstack.errors import ConfigError, MissingPackageError

# What this package builds itself for each engine: models/pytorch/small_cnn.py; models/paddle/small_cnn.py, and there
# what paddle.vision lacks (efficientnet.py) or names otherwise (mobilenet_v3.py).
OWN_NETWORKS = {
    "lightning": frozenset({"small_cnn"}),
    "paddle": frozenset(
        {
            "small_cnn",
            "mobilenet_v3_large",
            "mobilenet_v3_small",
            *(f"efficientnet_b{size}" for size in range(8)),
        }
    ),
}
TIMM_PREFIX = "timm/"
TIMM_PIN = "timm==1.0.31"

# Families whose layers paddle.vision and torchvision name or order differently, so that weights can't move by name.
OTHER_LAYERS = ("alexnet", "densenet", "googlenet", "inception", "shufflenet", "squeezenet")

# The keys of `model_urls = {…}` in paddle/vision/models/*.py: the networks that come with ImageNet weights.
PADDLE_WEIGHTS = re.compile(r"""^    ["'](\w[\w.]*)["']: \(\s*["']http""", re.MULTILINE)
# Paddle's file names of the weights whose networks are called otherwise, there and in torchvision.
PADDLE_SPELLINGS = {
    "mobilenetv1_1.0": "mobilenet_v1",
    "mobilenetv2_1.0": "mobilenet_v2",
    "mobilenet_v3_small_x1.0": "mobilenet_v3_small",
    "mobilenet_v3_large_x1.0": "mobilenet_v3_large",
}

# `def resnet18(pretrained: bool = False, …)`: the builders in paddle/vision/models/*.py.
PADDLE_BUILDER = re.compile(r"^def ([a-z]\w*)\(\s*pretrained", re.MULTILINE)

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


@cache
def paddle_names() -> frozenset[str]:
    """Names of paddle.vision's networks, from the text of its sources; empty if it isn't installed."""
    return frozenset(name for text in _paddle_sources() for name in PADDLE_BUILDER.findall(text))


def known_names(engine: str) -> frozenset[str]:
    """Names that `model.name` may have with an engine, without timm's; only the own ones if no library is installed."""
    return OWN_NETWORKS[engine] | (paddle_names() if engine == "paddle" else registered_names("torchvision"))


def check_name(name: str, engine: str) -> None:
    """Refuse an architecture that neither this package nor the engine's libraries have.

    Raises:
        ConfigError: The name is unknown.
        MissingPackageError: A timm name, and timm is not installed.
    """
    package, _, bare = name.rpartition("/")
    if package == "timm" and engine != "paddle":
        _check_timm_name(bare)
        return
    if package not in ("", "timm"):
        example = "resnet18" if engine == "paddle" else "convnext_tiny) or a timm one (timm/vit_tiny_patch16_224"
        raise ConfigError(
            f"model.name={name}: unknown library {package!r}",
            key="model.name",
            hint=f"write a {_library(engine)} name ({example})",
        )
    known = known_names(engine)
    if name in known or known == OWN_NETWORKS[engine]:
        return
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    nearest = ["nearest: " + ", ".join(near)] if near else []
    others = [other for other in ENGINES if other != engine and (package or name in known_names(other))]
    raise ConfigError(
        f"model.name={name}: {_library(engine)} has no such architecture",
        key="model.name",
        hint="\n".join([*(f"trainer.engine={other} has it" for other in others), *nearest]),
    )


def check_same_layers(name: str, engine: str, *, has_arguments: bool) -> None:
    """Refuse an architecture of another engine that this one lacks, or builds of layers with other names.

    Args:
        name: `model.name`.
        engine: The one that the weights are to be converted to.
        has_arguments: Whether `model.args` holds anything; the libraries' arguments differ.

    Raises:
        ConfigError: With the reason.
    """
    check_name(name, engine)
    if name.startswith(OTHER_LAYERS):
        raise ConfigError(
            f"model.name={name} can't be converted: torchvision and paddle.vision build it of layers with other names",
            key="model.name",
            hint=f"train it anew with trainer.engine={engine}",
        )
    if has_arguments and name not in OWN_NETWORKS["paddle"]:
        raise ConfigError(
            f"model.name={name} can't be converted: model.args are arguments of the other library",
            key="model.args",
            hint=f"train it anew with trainer.engine={engine}",
        )


def _library(engine: str) -> str:
    return "paddle.vision" if engine == "paddle" else "torchvision"


def _check_timm_name(bare: str) -> None:
    if find_spec("timm") is None:
        raise MissingPackageError(TIMM_PIN, needed_for=f"model.name=timm/{bare}")
    # timm names its pretrained weights after a dot: resnet18.a1_in1k
    known = registered_names("timm")
    if bare.split(".")[0] in known or not known:
        return
    nearest = difflib.get_close_matches(bare, known, n=3, cutoff=0.4)
    raise ConfigError(
        f"model.name=timm/{bare}: timm has no such architecture",
        key="model.name",
        hint="nearest: " + ", ".join(f"timm/{one}" for one in nearest) if nearest else "",
    )


def _paddle_sources() -> list[str]:
    spec = find_spec("paddle")  # does not import it
    if spec is None or spec.origin is None:
        return []
    sources = (Path(spec.origin).parent / "vision" / "models").glob("*.py")
    return [source.read_text(encoding="utf-8") for source in sources]


@cache
def paddle_pretrained() -> frozenset[str]:
    """Networks that Paddle has ImageNet weights for, from the text of its sources; empty if it isn't installed."""
    found = (name for text in _paddle_sources() for name in PADDLE_WEIGHTS.findall(text))
    return frozenset(PADDLE_SPELLINGS.get(name, name) for name in found)


def check_pretrained(name: str, engine: str) -> None:
    """Refuse `model.pretrained=true` for a network that the engine's own library has no weights for.

    Raises:
        ConfigError: With the networks that there are weights for.
    """
    known = paddle_pretrained() if engine == "paddle" else frozenset()
    if not known or name in known:
        return
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    others = "".join(f" or trainer.engine={other}" for other in ENGINES if other != engine)
    nearest = f"; nearest with weights: {', '.join(near)}" if near else ""
    raise ConfigError(
        f"model.pretrained=true does not work with model.name={name} and trainer.engine=paddle: "
        "paddle.vision has no weights for it",
        key="model.pretrained",
        hint=f"type model.pretrained=false{others}{nearest}",
    )
