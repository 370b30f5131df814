"""Train with one YAML, deploy one bundle: configuration, data, engines, reports and run folders."""

import os

__version__ = "0.1.0"

# ONNX Runtime 1.31 reports what it runs to its maker, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
