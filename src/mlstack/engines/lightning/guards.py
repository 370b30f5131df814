"""What surrounds a training with Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mlstack.config import Config
from mlstack.engines.guards import announced, lost_connection, out_of_memory
from mlstack.runs import RunFolder


@contextmanager
def launching(run: RunFolder) -> Iterator[None]:
    """Tell the processes that Lightning starts for the other devices the run folder; let Ctrl-C stay what it is."""
    try:
        with announced(run):
            yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning's answer is sys.exit(1)
            raise KeyboardInterrupt from error
        raise


@contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turn memory that runs out, and another process that is gone, into one message with what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (lost := lost_connection(error)) is not None:
            raise lost from error
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise out_of_memory(config) from error
