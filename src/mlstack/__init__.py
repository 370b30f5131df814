"""Train with one YAML, deploy one bundle: configuration, data, engines, reports and run folders."""

__version__ = "0.1.0"
