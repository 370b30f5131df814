"""The exception tree. Each of these is a user's mistake or misfortune, never a bug of ours.

MLStackError                  one clear message, exit status 2, no traceback
├── ConfigError               a key, value or combination that can't work (before any framework is imported)
├── DataError                 images or labels that are missing, unreadable or inconsistent
│   └── DownloadError         a data set or weights that could not be fetched
├── HardwareError             a device or precision that this machine does not have
├── MissingPackageError       an optional package that is not installed
├── RunError                  a run folder that is not there, not finished or not readable
├── TrainingError             training that can't go on: a loss that is no number, memory that is full
├── ExportError               a network that can't become a bundle, or not one that answers as it does
├── BundleError               a bundle that is not there, damaged, or of another schema version
├── ContainerError            a container engine that can't be had, or something that it refused
└── OutputError               a path that can't be written
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_LINES = 8


class MLStackError(Exception):
    """Base of all errors that end a command with one message and exit status 2.

    Args:
        message: What was given and what is wrong with it: one line.
        allowed: What would be accepted, where that can be listed.
        hint: What to do or to type instead: at most a few lines.
    """

    def __init__(self, message: str, *, allowed: Sequence[object] = (), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.allowed = tuple(allowed)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.allowed:
            lines.append("allowed: " + ", ".join(str(value) for value in self.allowed))
        if self.hint:
            lines.extend(self.hint.splitlines())
        if len(lines) > MAX_LINES:
            lines = [*lines[: MAX_LINES - 1], f"… and {len(lines) - MAX_LINES + 1} more lines"]
        return "\n".join(lines)


class ConfigError(MLStackError):
    """A key, a value or a combination of values that can't work.

    Args:
        key: The offending key with dots (`trainer.max_epochs`), empty where there is none.
    """

    def __init__(self, message: str, *, key: str = "", allowed: Sequence[object] = (), hint: str = "") -> None:
        super().__init__(message, allowed=allowed, hint=hint)
        self.key = key


class DataError(MLStackError):
    """Images or labels that are missing, unreadable or inconsistent."""


class DownloadError(DataError):
    """A data set, or weights, that could not be fetched."""


class HardwareError(MLStackError):
    """A device or a precision that this machine does not have."""


class MissingPackageError(MLStackError):
    """An optional package that is not installed.

    Args:
        package: The name to install, with its pin where there is one (`timm==1.0.31`).
        needed_for: What asked for it (`model.name=timm/vit_tiny_patch16_224`).
    """

    def __init__(self, package: str, *, needed_for: str) -> None:
        name = package.split("==")[0]
        super().__init__(
            f"{needed_for} needs the package {name}, which is not installed",
            hint=f"install it with: pip install '{package}'",
        )
        self.package = package


class RunError(MLStackError):
    """A run folder that is not there, not finished or not readable."""


class TrainingError(MLStackError):
    """Training that can't go on: a loss that is no number, memory that is full."""


class ExportError(MLStackError):
    """A network that can't become a bundle, or not one that answers as it does."""


class BundleError(MLStackError):
    """A bundle that is not there, damaged, or of another schema version."""


class ContainerError(MLStackError):
    """A container engine that can't be had, or something that it refused."""


class OutputError(MLStackError):
    """A path that can't be written."""
