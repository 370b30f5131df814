"""What a test looks at in a checkpoint of this engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

# The training module's step, where a run can be stopped.
VALIDATION_STEP = "mlstack.engines.lightning.module:TrainingModule.validation_step"
WRITING = "mlstack.engines.lightning.checkpoints:save"


def content(path: Path) -> dict[str, Any]:
    """Everything, without what the clock decides in places of this engine's own."""
    content = dict(torch.load(path, weights_only=True))
    content["callbacks"].pop("Speed")
    return content
