"""Write docs/configuration.md from the schema in src/mlstack/config, so that the two cannot disagree:

    python scripts/document_configuration.py

Run it after adding or changing a key; a test fails while the document is out of date.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from mlstack.config import commands, export
from mlstack.config.api_keys import MakeApiKeyConfig
from mlstack.config.comparison import ComparePerformanceConfig
from mlstack.config.keys import MISSING, Key, walk
from mlstack.config.root import Config
from mlstack.config.serving import ServeConfig

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
INTRODUCTION = """# Configuration: every key

Made from `src/mlstack/config` by `python scripts/document_configuration.py`; don't edit it by hand.

Each key can be given on the command line (`trainer.max_epochs=3`) or in a YAML file, without a `+`. `null` means that
the value follows from the data or the machine, or that the thing is switched off. `python scripts/train.py --help`
prints the same, and `python scripts/train.py --cfg job` prints what a command line comes to, without running it.

The YAML files in `configs/` change some of these defaults; they are short enough to be read where they stand.
"""
KINDS = {
    "list": "list",
    "dict": "mapping",
    "str": "text",
    "bool": "`true`, `false`",
    "int": "whole number",
    "float": "number",
}
TITLES = {
    "": "Beside the groups",
    "model": "model: the network and how it learns",
    "data": "data: the images",
    "trainer": "trainer: how long, on what, how precisely",
}
COMMANDS = {
    "eval.py": commands.EvalConfig,
    "predict.py": commands.PredictConfig,
    "convert.py": commands.ConvertConfig,
    "download.py": commands.DownloadConfig,
    "check_env.py": commands.CheckEnvConfig,
    "validate.py": commands.ValidateConfig,
    "compare_performance.py": ComparePerformanceConfig,
    "compare_runs.py": commands.CompareRunsConfig,
    "export.py": export.ExportConfig,
    "verify_bundle.py": export.VerifyBundleConfig,
    "benchmark.py": export.BenchmarkConfig,
    "optimize_for_edge.py": export.EdgeConfig,
    "serve.py": ServeConfig,
    "make_api_key.py": MakeApiKeyConfig,
}


def document() -> str:
    """The whole document."""
    parts = [INTRODUCTION, "## Training: `scripts/train.py`\n"]
    keys = list(walk(Config))
    for group, title in TITLES.items():
        members = [key for key in keys if group_of(key) == group]
        parts += [f"### {title}\n", table(members)]
    for script, schema in COMMANDS.items():
        # The data group of download.py is the one above.
        members = [key for key in walk(schema) if not key.name.startswith("data.")]
        parts += [f"## `scripts/{script}`\n", f"{(schema.__doc__ or '').strip()}\n", table(members)]
    return "\n".join(parts)


def group_of(key: Key) -> str:
    group, dot, _ = key.name.partition(".")
    return group if dot else ""


def table(keys: list[Key]) -> str:
    rows = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    rows += [f"| `{key.name}` | {default(key)} | {allowed(key)} | {meaning(key)} |" for key in keys]
    return "\n".join(rows) + "\n"


def default(key: Key) -> str:
    return "*required*" if key.default == MISSING else f"`{as_yaml(key.default)}`"


def as_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def allowed(key: Key) -> str:
    """Choices, or the type and its range."""
    if key.limits.choices:
        return ", ".join(f"`{choice}`" for choice in key.limits.choices)
    if key.limits.path:
        return "list of paths" if "list" in str(key.type) else "path"
    kinds = [word for name, word in KINDS.items() if re.search(rf"\b{name}\b", spelled(key.type))]
    return " ".join(part for part in (join_kinds(kinds), key.limits.describe()) if part)


def join_kinds(kinds: list[str]) -> str:
    return f"list of {kinds[1]}s" if kinds[0] == "list" else " or ".join(kinds)


def spelled(kind: Any) -> str:
    """`int | None` as written, without what stands inside brackets: dict[str, Any] → dict."""
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return text if text.startswith("list") else text.partition("[")[0]


def meaning(key: Key) -> str:
    unit = f" ({key.unit})" if key.unit else ""
    return (key.meaning + unit).replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(f"written: {DOCUMENT.relative_to(Path.cwd()) if DOCUMENT.is_relative_to(Path.cwd()) else DOCUMENT}")
