"""A user's own code: what `data.target` and `model.target` name as module:callable."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from mlstack.errors import ConfigError


def import_target(target: str, *, key: str) -> Callable[..., Any]:
    """The callable that `module:callable` names; the current folder counts as a place for modules.

    Raises:
        ConfigError: One line with what went wrong.
    """
    module_name, colon, name = target.partition(":")
    if not (colon and module_name and name):
        raise ConfigError(
            f"{key}={target} is not of the form module:callable", key=key, hint=f"such as {key}=flowers:load"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = import_module(module_name)
    except (ImportError, SyntaxError) as error:
        reason = f"{error.msg} in line {error.lineno}" if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(
            f"{key}={target}: {reason}", key=key, hint="run from the folder with the module, or put it on PYTHONPATH"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        callables = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        raise ConfigError(f"{key}={target}: {module_name} has no function {name}", key=key, allowed=callables)
    return found  # type: ignore[no-any-return]
