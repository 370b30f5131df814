"""Measure bundles side by side: accuracy, size, latency, throughput, memory; a table and a figure.

    python scripts/benchmark.py bundle=latest
    python scripts/benchmark.py 'bundle=[a,b,c]' 'threads=[1,2]'
    python scripts/benchmark.py bundle=latest max_latency_ms=50 min_images_per_s=100

With limits it ends in a verdict: exit status 0 = kept, 1 = not. Every model file of a bundle is
measured, in turns.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.export import BenchmarkConfig

    run("mlstack.commands.benchmark:benchmark", BenchmarkConfig, config_name="benchmark", usage=__doc__)
