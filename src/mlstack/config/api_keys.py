"""The schema of the command that makes an API key."""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config.keys import MISSING, key


@dataclass
class MakeApiKeyConfig:
    """Make an API key for a client of the service."""

    name: str = key(MISSING, "Whose key it is; stands in logs and metrics")
    file: str = key("keys.txt", "File of keys, as in serve.api_keys_file; made when it is not there", path=True)
    admin: bool = key(False, "May use /admin: reload models, promote and roll back")
