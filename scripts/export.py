"""Turn a trained run into a bundle: an ONNX model that answers as the network does.

    python scripts/export.py run=latest                       # <run>/bundle, checked on real images
    python scripts/export.py run=latest quantize.mode=int8    # a second file, 1/4 of the size
    python scripts/export.py run=latest target=openvino       # what another runtime takes
    python scripts/export.py onnx=model.onnx images=photos/   # a model of your own

A bundle that answers differently from the network is not written.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.export import ExportConfig

    run("mlstack.commands.export:export", ExportConfig, config_name="export", usage=__doc__)
