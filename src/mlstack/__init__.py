"""Train with one YAML, deploy one bundle: configuration, data, engines, reports and run folders."""

import os

__version__ = "0.1.0"

# ONNX Runtime (1.31) reports to its maker what it runs, unless this is set before it is imported. ORT_DISABLE_TELEMETRY=0
# lets it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
