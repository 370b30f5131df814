"""Train every shipped model for one epoch on embedded data, to see that all of them work here.

    python scripts/validate.py                                 # a few minutes on two CPU cores
    python scripts/validate.py 'models=[resnet18,mobilenet_v3]'

It ends with a table: model, accuracy, images/s, seconds. The exit status is 0 when every model
trained.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import ValidateConfig

    run("mlstack.commands.validate:validate", ValidateConfig, config_name="validate", usage=__doc__)
