"""Find out whether this code works here: its models, or one of the two stages of a deployment.

    python scripts/validate.py                               # one epoch of every model: minutes
    python scripts/validate.py 'models=[resnet18,mobilenet_v3]'
    python scripts/validate.py stage=venv profile=quick      # stage 1, needs a GPU
    python scripts/validate.py stage=venv allow_cpu=true     # a dry run of it without one
    python scripts/validate.py stage=docker profile=quick    # stage 2, needs docker or podman

It ends with a table and a report in outputs/validate/. Exit status: 0 when all is well, 1 when a
model or a criterion failed, 2 when the stage can't begin.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import ValidateConfig

    run("mlstack.commands.validate:validate", ValidateConfig, config_name="validate", usage=__doc__)
