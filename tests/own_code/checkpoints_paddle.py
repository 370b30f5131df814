"""What a test looks at in a checkpoint of this engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlstack.engines.paddle.weight_files import read_checkpoint

# The training module's step, where a run can be stopped.
VALIDATION_STEP = "mlstack.engines.paddle.module:TrainingModel.eval_batch"
WRITING = "mlstack.engines.paddle.checkpoints:write_checkpoint"


def content(path: Path) -> dict[str, Any]:
    """Everything, without what the clock decides in places of this engine's own."""
    content = read_checkpoint(path)
    content.pop("speed")
    return content
