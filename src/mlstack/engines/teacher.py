"""Whose network is the teacher of a distillation, and the settings that it is built from. No framework here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mlstack.config import Config, DataConfig, ModelConfig
from mlstack.errors import MLStackError, RunError
from mlstack.runs import RunFolder

Network = TypeVar("Network")


@dataclass(frozen=True)
class TeacherSettings:
    """What a teacher is built from.

    Attributes:
        model: Its run's `model` settings; its weights come from `checkpoint`.
        data: Its run's `data` settings, its own normalisation among them, with the image size of the student's run.
        trained_size: The image size of its own run, in pixels.
        checkpoint: Its best one.
        name: `distill.teacher=…`, as messages call it.
    """

    model: ModelConfig
    data: DataConfig
    trained_size: int | None
    checkpoint: Path
    name: str


def teacher_settings(config: Config) -> TeacherSettings | None:
    """Those of the run that `distill.teacher` names; None where no teacher is asked for.

    Args:
        config: All settings, `distill.teacher` a folder.

    Raises:
        RunError: The folder is no run, or has no best checkpoint.
    """
    if config.distill.teacher is None:
        return None
    run = RunFolder(Path(config.distill.teacher))
    known = run.read_config()
    return TeacherSettings(
        model=replace(known.model, pretrained=False),
        data=replace(known.data, image_size=config.data.image_size),
        trained_size=known.data.image_size,
        checkpoint=run.checkpoint("best"),
        name=f"distill.teacher={config.distill.teacher}",
    )


def loaded(settings: TeacherSettings, load: Callable[[], Network]) -> Network:
    """What `load` returns, a network; where it can't be made, the error says that it is the teacher.

    Raises:
        RunError: The teacher can't be made.
    """
    try:
        return load()
    except MLStackError as error:
        own, asked = settings.trained_size, settings.data.image_size
        hint = f"its own pictures were {own}×{own}, this run's are {asked}×{asked}: type data.image_size={own}"
        raise RunError(f"{settings.name}: {error.message}", hint=hint if own != asked else error.hint) from error
