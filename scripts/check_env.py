"""Report what this machine and this environment offer: Python, packages, GPUs, memory, disk.

    python scripts/check_env.py
    python scripts/check_env.py json=true

It takes a few seconds and says for each thing that is amiss what to type.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import CheckEnvConfig

    run("mlstack.commands.check_env:check_env", CheckEnvConfig, config_name="check_env", usage=__doc__)
