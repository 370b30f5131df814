"""Settings of the service that can't work together, refused before anything is loaded."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Sequence
from itertools import pairwise

from mlstack.config.serving import RolloutConfig, ServeConfig, ServeSettings
from mlstack.errors import ConfigError

LARGEST_BODY_MB = 2048
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s,]+")  # what browsers send: no path, no slash at the end


def check_serving(config: ServeConfig) -> None:
    """Refuse a service that nobody may reach, that everybody may, or whose experiment contradicts itself.

    Raises:
        ConfigError: Naming the keys.
    """
    if not config.bundle:
        raise ConfigError("bundle=[] names no bundle", key="bundle", hint="such as bundle=latest")
    settings = config.serve
    _check_address(settings)
    _check_origins(settings.cors_origins)
    _check_experiment(settings)
    _check_rollout(settings.rollout)
    if settings.max_body_mb > LARGEST_BODY_MB:
        message = f"serve.max_body_mb={settings.max_body_mb:g} is more than {LARGEST_BODY_MB}"
        raise ConfigError(message, key="serve.max_body_mb", hint="send large batches in several requests")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_address(settings: ServeSettings) -> None:
    if settings.api_keys_file is None and not settings.allow_anonymous and not is_loopback(settings.host):
        raise ConfigError(
            f"serve.host={settings.host} can be reached by others, and no key is asked for",
            key="serve.host",
            hint="make a key: python scripts/make_api_key.py name=alice file=keys.txt\n"
            "and ask for it: serve.api_keys_file=keys.txt; or let everybody in: serve.allow_anonymous=true",
        )


def _check_origins(origins: Sequence[str]) -> None:
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"serve.cors_origins: {origin} is no web site's origin",
                key="serve.cors_origins",
                hint="as browsers send it, such as https://example.org:8443: no path, no slash at the end, no *",
            )


def _check_experiment(settings: ServeSettings) -> None:
    if settings.canary is not None and settings.split:
        message = f"serve.canary={settings.canary} and serve.split contradict each other"
        raise ConfigError(message, key="serve.canary", hint="a canary has a share of its own, which grows: drop one")
    if settings.shadow is not None and settings.shadow in (settings.canary, *settings.split):
        message = f"serve.shadow={settings.shadow} answers already, by serve.canary or serve.split"
        raise ConfigError(message, key="serve.shadow", hint="a shadow gets requests and never answers: drop one")
    if settings.shadow is not None and settings.shadow == settings.default:
        message = f"serve.shadow={settings.shadow} is serve.default too"
        raise ConfigError(message, key="serve.shadow", hint="a shadow gets requests and never answers: drop one")
    for name, share in settings.split.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not math.isfinite(share) or share < 0:
            message = f"serve.split: the share of {name} is {share!r}, not a number from 0 on"
            raise ConfigError(message, key="serve.split", hint="such as serve.split={a:90,b:10}")
    if settings.split and not sum(settings.split.values()) > 0:
        raise ConfigError("serve.split: all shares are 0", key="serve.split", hint="such as serve.split={a:90,b:10}")


def _check_rollout(rollout: RolloutConfig) -> None:
    steps = rollout.steps
    grow = all(step < next_step for step, next_step in pairwise(steps))  # not where one is no number
    if not steps or not grow or steps[-1] != 100:
        message = f"serve.rollout.steps={steps} do not grow up to 100"
        raise ConfigError(message, key="serve.rollout.steps", hint="such as [1,5,25,50,100]")
