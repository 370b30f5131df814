"""Compare the two validation stages: the same code in the virtual environment and in containers.

    python scripts/compare_performance.py                          # the two in outputs/validate/
    python scripts/compare_performance.py venv=a/venv.json docker=b/docker.json

It prints a table of measurements with their ratio, draws them (outputs/validate/comparison.png) and
ends with a verdict. The exit status is 0 when both stages passed and answer alike for each picture,
1 when not. It takes a second.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.comparison import ComparePerformanceConfig

    run(
        "mlstack.commands.compare_performance:compare_performance",
        ComparePerformanceConfig,
        config_name="compare_performance",
        usage=__doc__,
    )
