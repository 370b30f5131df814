"""Make an API key for a client of the service: prints it once, and appends its hash to a file of keys.

    python scripts/make_api_key.py name=alice                        # into keys.txt
    python scripts/make_api_key.py name=ops file=keys.txt admin=true

A running service takes it a second later; to take a key away, delete its line.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.api_keys import MakeApiKeyConfig
    from mlstack.config.command_line import run

    run("mlstack.commands.make_api_key:make_api_key", MakeApiKeyConfig, config_name="make_api_key", usage=__doc__)
