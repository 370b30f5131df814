"""Make a bundle fit a small device: its runtime, precision, input size and threads, within its memory.

    python scripts/optimize_for_edge.py target=raspberry-pi-5 bundle=latest
    python scripts/optimize_for_edge.py target=jetson-nano quantize.mode=int8 input_size=320x320

Devices are files of configs/device/. Latency is measured on this machine; nothing is invented for
a device elsewhere.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.export import EdgeConfig

    command = "mlstack.commands.optimize_for_edge:optimize_for_edge"
    run(command, EdgeConfig, config_name="optimize_for_edge", usage=__doc__)
