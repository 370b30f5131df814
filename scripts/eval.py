"""Measure a trained model on one split of its data.

    python scripts/eval.py                              # the newest finished run, its test split
    python scripts/eval.py run=outputs/digits_resnet18_lightning/2026-01-31_12-00-00_a1b2 split=val

It prints a table of metrics and leaves pictures in the run folder: a confusion matrix and the
worst mistakes.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import EvalConfig

    run("mlstack.commands.evaluate:evaluate", EvalConfig, config_name="eval", usage=__doc__)
