"""Who answers a prediction: a run, a bundle or a service, and only one of them."""

from __future__ import annotations

from mlstack.config.commands import PredictConfig
from mlstack.errors import ConfigError


def check_who_answers(predict: PredictConfig) -> None:
    """Refuse `bundle=` beside a setting that only a run has, and `url=` beside either.

    Raises:
        ConfigError: Naming both keys.
    """
    if predict.url is not None:
        _check_service(predict, predict.url)
        return
    if predict.bundle is None:
        return
    if predict.run != "latest":
        message = f"run={predict.run} and bundle={predict.bundle} contradict each other"
        raise ConfigError(message, key="bundle", hint="ask one of them: drop run= or bundle=")
    if predict.checkpoint != "best":
        message = (
            f"checkpoint={predict.checkpoint} does not fit bundle={predict.bundle}, which holds one set of weights"
        )
        hint = f"export those: python scripts/export.py run=RUN checkpoint={predict.checkpoint}"
        raise ConfigError(message, key="checkpoint", hint=hint)


def _check_service(predict: PredictConfig, url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"url={url} is no address", key="url", hint="such as url=http://127.0.0.1:8000")
    theirs = {"bundle": None, "run": "latest", "checkpoint": "best", "accelerator": "auto"}
    for name, default in theirs.items():
        value = getattr(predict, name)
        if value != default:
            message = f"{name}={value} and url={url} contradict each other: the service chooses its model itself"
            raise ConfigError(message, key="url", hint=f"drop {name}= or url=")
