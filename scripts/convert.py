"""Turn a trained model into one of the other engine: the same network, the same weights.

    python scripts/convert.py                             # the newest run, to the other engine
    python scripts/convert.py run=latest engine=paddle    # named; engine=lightning goes back

It takes seconds and writes a finished run folder of its own, outputs/<data>_<model>_paddle/…, for
eval.py, predict.py and train.py init_from=.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import ConvertConfig

    run("mlstack.commands.convert:convert", ConvertConfig, config_name="convert", usage=__doc__)
