"""Compare finished runs: in what their settings differ, what they reached, and how fast.

    python scripts/compare_runs.py                              # all finished runs in outputs/
    python scripts/compare_runs.py 'runs=[outputs/a,outputs/b]' output=comparison.png csv=comparison.csv

It prints a table of runs and, where some differ in the seed alone, mean ± deviation over the
seeds; the figure shows the monitored metric against CPU seconds.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import CompareRunsConfig

    run("mlstack.commands.compare_runs:compare_runs", CompareRunsConfig, config_name="compare_runs", usage=__doc__)
