"""The manners of every script: flags, a typed and checked config, then the task; mistakes end as one message.

The task is named by a string and imported last, so that `--help`, `--cfg job` and a mistake in the config cost no
framework. `sys.argv` stays as it was typed: the processes of a distributed run start from it.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlstack import __version__
from mlstack.config.flags import Arguments, parse
from mlstack.config.help import describe
from mlstack.config.vocabulary import read_vocabulary
from mlstack.errors import MLStackError

USER_MISTAKE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def run(task: str, schema: type, *, config_name: str = "config", usage: str = "", stored: str = "") -> None:
    """Run a command and leave the process with its exit status.

    Args:
        task: What to call with the typed config, `module:function`.
        schema: The command's dataclass.
        config_name: The YAML in `configs/` that the command starts from; a command without groups has no such file.
        usage: What the command does and how it is called, for `--help`.
        stored: `module:function`, which gets the overrides and returns the stored config to compose over, or None.
    """
    try:
        status = _run(sys.argv[1:], task, schema, config_name, usage, stored)
    except MLStackError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of the processes of one run on this machine, one says it
            print(f"error: {error}", file=sys.stderr)
        status = USER_MISTAKE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status)


def _run(argv: Sequence[str], task: str, schema: type, config_name: str, usage: str, stored: str) -> int:
    arguments = parse(argv, read_vocabulary(schema, config_name))
    if "--help" in arguments.switches:
        _print(describe(usage, read_vocabulary(schema, config_name, arguments.config_dirs)))
        return 0
    if "--version" in arguments.switches:
        _print(f"mlstack {__version__}")
        return 0
    for folder in arguments.config_dirs:
        _make_importable(folder)
    if "--multirun" in arguments.switches:
        from mlstack.config.sweep import run_sweep

        return run_sweep(arguments, schema, config_name)
    return _run_one(arguments, task, schema, config_name, stored)


def _run_one(arguments: Arguments, task: str, schema: type, config_name: str, stored: str) -> int:
    from mlstack.config.compose import compose_node, show_node, to_typed

    base: Path | None = _call(stored, arguments.overrides) if stored else None
    dirs = arguments.config_dirs
    node = compose_node(schema, arguments.overrides, config_name=config_name, config_dirs=dirs, base=base)
    config: object = to_typed(node, schema)
    if arguments.cfg:
        _print(show_node(node, package=arguments.package, resolve="--resolve" in arguments.switches))
        return 0
    _call(task, config)
    return 0


def _call(name: str, argument: object) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)(argument)


def _make_importable(folder: Path) -> None:
    """Let this process, and those that it starts, import the Python files of the user's own folder."""
    sys.path.insert(1, str(folder))
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{inherited}" if inherited else str(folder)


def _print(text: str) -> None:
    """Print to a reader who may have left (`| head`) and to a terminal that may not know every character."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again at exit
