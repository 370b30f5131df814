"""Which of several processes of one run this is, known from the environment before any framework is up."""

from __future__ import annotations

import os

# What launchers tell the processes that they start: torchrun and Lightning, paddle.distributed.launch, Lightning's own.
VARIABLES = ("RANK", "PADDLE_TRAINER_ID", "LOCAL_RANK")


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints: rank 0, or the only one."""
    return next((os.environ[name] for name in VARIABLES if name in os.environ), "0") == "0"
