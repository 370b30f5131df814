"""How pictures become what an ONNX file of one's own takes, computed by NumPy: what the bundle is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlstack.config.export import ExportConfig
from mlstack.errors import ConfigError, ExportError
from mlstack.export.own_file import OwnFile
from mlstack.export.own_run import GraphRun

CHANNELS = (1, 3)
CALL = 32  # pictures that a model is asked about at once


@dataclass(frozen=True)
class Frame:
    """What the file takes.

    Attributes:
        size: Height and width in pixels.
        channels: 1 or 3.
        channel_last: Whether it takes [batch, height, width, channel].
        mean: Of each channel, 0 to 1, in the order of the file's channels.
        std: The same for the standard deviation.
        bgr: Whether its channels stand in the order blue, green, red.
    """

    size: int
    channels: int
    channel_last: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool

    def pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [n, height, width, channel], RGB → float32 [n, channel, height, width], normalised."""
        ordered = images[..., ::-1] if self.bgr else images
        shares = ordered.astype(np.float32) / 255
        normalised = (shares - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


def frame_of(own: OwnFile, config: ExportConfig) -> Frame:
    """Find out size, channels and layout from the file's dimensions, else from `image_size` and `mean`.

    The channel is taken to stand last where the last dimension is 1 or 3 and the second one is not.

    Raises:
        ExportError: The file takes something else than squares of 1 or 3 channels, or of another size.
        ConfigError: Its size is nowhere said, or `mean` is for another number of channels.
    """
    _, second, third, fourth = own.dims
    channel_last = fourth in CHANNELS and second not in CHANNELS
    channels, *sides = (fourth, second, third) if channel_last else (second, third, fourth)
    shape = ", ".join("?" if dim is None else str(dim) for dim in own.dims)
    if channels not in (None, *CHANNELS):
        raise ExportError(
            f"onnx={own.path}: its input [{shape}] has {channels} channels",
            hint="allowed: [batch, channel, height, width] or [batch, height, width, channel], with 1 or 3 channels",
        )
    known = sorted({side for side in sides if side is not None})
    if len(known) > 1:
        raise ExportError(f"onnx={own.path}: it takes {sides[0]} × {sides[1]} pixels", hint="allowed: squares")
    if config.image_size is not None and known not in ([], [config.image_size]):
        message = f"image_size={config.image_size}, but {own.path} takes {known[0]} × {known[0]} pixels"
        raise ConfigError(message, key="image_size", hint="leave image_size away")
    if config.image_size is None and not known:
        message = f"{own.path} takes pictures of any size ([{shape}])"
        raise ConfigError(message, key="image_size", hint="say which: image_size=224")
    size = config.image_size or known[0]
    if channels is not None and len(config.mean) != channels:
        some = ",".join(["0.5"] * channels)
        raise ConfigError(
            f"mean={_text(config.mean)} and std={_text(config.std)} are for {len(config.mean)} channels, "
            f"and {own.path} takes {channels}",
            key="mean",
            hint=f"give {channels} number{'s' * (channels > 1)} in both, such as 'mean=[{some}]' 'std=[{some}]'",
        )
    if len(config.mean) not in CHANNELS:
        message = f"mean={_text(config.mean)} is for {len(config.mean)} channels"
        raise ConfigError(message, key="mean", hint="allowed: one number (grey), or three (colour)")
    return Frame(size, len(config.mean), channel_last, tuple(config.mean), tuple(config.std), bgr=config.color == "bgr")


def given_answers(own: OwnFile, frame: Frame, images: NDArray[np.uint8], *, batch: int | None) -> NDArray[np.float64]:
    """What the file itself answers for pictures, without a line of the bundle's graph.

    Args:
        own: The file.
        frame: How it takes pictures.
        images: uint8 [n, height, width, channel], RGB.
        batch: Pictures a call, where only that many go; None = any.

    Returns:
        float64 [n, class], logits or probabilities.

    Raises:
        ExportError: ONNX Runtime can't run it.
    """
    run, rows = GraphRun(own.model, own.path), []
    step = own.dims[0] or batch or CALL
    for start in range(0, len(images), step):
        pixels = frame.pixels(images[start : start + step])
        count = len(pixels)
        if own.dims[0]:
            pixels = pixels[np.arange(step) % count]  # the last call needs as many as the others
        pixels = pixels.transpose(0, 2, 3, 1) if frame.channel_last else pixels
        (answers,) = run(pixels.astype(own.dtype))
        rows.append(answers.reshape(len(pixels), -1)[:count].astype(np.float64))
    return np.concatenate(rows)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [n, class] → shares that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _text(values: list[float]) -> str:
    return "[" + ",".join(f"{value:g}" for value in values) + "]"
