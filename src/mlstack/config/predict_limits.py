"""Who answers a prediction: a run or a bundle, not both."""

from __future__ import annotations

from mlstack.config.commands import PredictConfig
from mlstack.errors import ConfigError


def check_who_answers(predict: PredictConfig) -> None:
    """Refuse `bundle=` beside a setting that only a run has.

    Raises:
        ConfigError: Naming both keys.
    """
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
