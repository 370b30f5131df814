"""Encoded pictures to rows of pixels: checked by their headers, decoded off the event loop, in bounded memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.decode import Accepted, PictureRule
from mlstack.errors import DataError
from mlstack.serving.input_problems import too_many
from mlstack.serving.inputs import InputLimits
from mlstack.serving.jobs import Worker
from mlstack.serving.picture_headers import FORMATS, Header, read_header
from mlstack.serving.problems import Problem, bad_request, too_large, unsupported

SMALL_BYTES, SMALL_PIXELS = 2**20, 2**20  # decoded in some milliseconds


class PixelBudget:
    """How many pixels may be decoded at the same time, by all threads together; a picture alone may have any number.

    Args:
        pixels: In all.
    """

    def __init__(self, pixels: int) -> None:
        self._limit = pixels
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until there is room, and hold it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._limit)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


class PictureDecoder:
    """Decodes by the rule that the model was trained with; the bytes are those of training and `predict.py`.

    Args:
        rule: Of the bundle.
        limits: Of a request.
        workers: Where small pictures are decoded.
        pool: Where large ones are, beside which the models have to go on; None = by the workers too.
        budget: Of large ones, shared by the decoders of several models; None = `limits.max_pixels` at a time.
    """

    def __init__(
        self,
        rule: PictureRule,
        limits: InputLimits,
        workers: Worker,
        pool: Worker | None = None,
        budget: PixelBudget | None = None,
    ) -> None:
        self.rule = rule
        self.limits = limits
        self._workers = workers
        self._pool = pool or workers
        self._budget = budget or PixelBudget(limits.max_pixels)
        self._accepted = Accepted(FORMATS, limits.max_pixels)

    async def decode(self, pictures: list[bytes]) -> NDArray[np.uint8]:
        """Decode the pictures of one request.

        Args:
            pictures: Encoded as JPEG, PNG, WebP, BMP or GIF.

        Returns:
            uint8 [n, height, width, channel], in their order.

        Raises:
            Problem: 400 for a broken picture, 413 for one of too many pixels or too many of them, 415 for another
                format; it names the picture. Where this is raised or cancelled, work that hasn't begun is dropped.
        """
        count = len(pictures)
        if count > self.limits.max_images:
            raise too_many(count, self.limits.max_images)
        if count == 1:
            return (await self._decode(pictures[0], "the picture"))[None]
        work = [
            asyncio.ensure_future(self._decode(data, f"picture {index + 1} of {count}"))
            for index, data in enumerate(pictures)
        ]
        try:
            return np.stack(await asyncio.gather(*work))
        finally:
            for piece in work:
                piece.cancel()

    async def _decode(self, data: bytes, name: str) -> NDArray[np.uint8]:
        if len(data) <= SMALL_BYTES:
            rows = await asyncio.wrap_future(self._workers.submit(self.decode_small, data, name))
            if rows is not None:
                return rows
        return await asyncio.wrap_future(self._pool.submit(self.decode_one, data, name))

    def decode_small(self, data: bytes, name: str = "the picture") -> NDArray[np.uint8] | None:
        """As `decode_one` for a picture of few pixels; None for one of many, which would hold up who calls."""
        return self._read(data, name) if self._check(data, name).pixels <= SMALL_PIXELS else None

    def decode_one(self, data: bytes, name: str = "the picture") -> NDArray[np.uint8]:
        """One picture, in this thread: uint8 [height, width, channel]. Raises as `decode` does."""
        with self._budget.take(self._check(data, name).pixels):
            return self._read(data, name)

    def _read(self, data: bytes, name: str) -> NDArray[np.uint8]:
        try:
            return self.rule.read_bytes(data, self._accepted)
        except DataError as error:
            raise bad_request(f"{name} can't be read: {error.message}") from None
        except MemoryError:
            raise too_large(f"{name} takes more memory than there is") from None

    def _check(self, data: bytes, name: str) -> Header:
        """The header, before a decoder sees anything."""
        if not data:
            raise bad_request(f"{name} is empty")
        try:
            header = read_header(data)
        except LookupError as error:
            raise unsupported(f"{name} {error.args[0]}") from None
        except ValueError as error:
            raise bad_request(f"{name} {error}") from None
        if header.pixels > self.limits.max_pixels:
            raise _too_many_pixels(name, header, self.limits.max_pixels)
        return header


def _too_many_pixels(name: str, header: Header, limit: int) -> Problem:
    return too_large(
        f"{name} has {header.width} × {header.height} pixels, {header.pixels / 1e6:.1f} megapixels: "
        f"at most {limit / 1e6:g} are taken, send it smaller"
    )
