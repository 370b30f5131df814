"""A service that is asked about pictures over HTTP: photographs go there as they are, and are resized there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import told_apart
from mlstack.datasets.decode import PictureRule, decoded_side
from mlstack.engines.base import BatchSource
from mlstack.errors import DataError, MLStackError
from mlstack.serving.client import KEY_VARIABLE, Client, ClientError

GROUP_FILES = 16  # of a request: below what a service takes by default (64 pictures, 16 MB)
GROUP_BYTES = 8_000_000
PATIENCE = 60.0  # seconds for an answer
BAD_PICTURE = (400, 413, 415)  # statuses that speak of what was sent


class ServiceError(MLStackError):
    """A service that is not there, or does not answer."""


class ServiceAnswerer:
    """A service's default model; see `answering.Answerer`.

    Args:
        url: Such as http://127.0.0.1:8000; the API key stands in the environment, as `MLSTACK_API_KEY`.

    Raises:
        ServiceError: It can't be asked.
    """

    def __init__(self, url: str) -> None:
        try:
            self.client = Client(url, os.environ.get(KEY_VARIABLE), timeout=PATIENCE)
            with self.client:
                facts = self.client.metadata()
            self.model: str = facts["name"]
            self.task: str = facts["task"]
            self.names: Sequence[str] = told_apart(facts["classes"])
            self.rule = _rule(facts["input"])
        except ClientError as error:
            raise _no_answer(url, error) from error
        except ValueError as error:
            raise ServiceError(f"url={error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise ServiceError(f"url={url} is not a service of this project: it tells no model") from error

    def outputs(self, source: BatchSource) -> NDArray[np.float32]:
        """float32 [n, answer] for every picture of a source: files where it has `paths`, otherwise ready arrays."""
        paths: Sequence[Path] | None = getattr(source, "paths", None)
        try:
            if paths is None:
                steps = (source.batch(0, step).images for step in range(len(source)))
                asked = [
                    self._ask(part)
                    for step in steps
                    for part in np.split(step, range(GROUP_FILES, len(step), GROUP_FILES))
                ]
            else:
                asked = [self._ask(group) for group in _groups(paths)]
        finally:
            self.client.close()
        return np.concatenate(asked)

    def _ask(self, pictures: Any) -> NDArray[np.float32]:
        """One request: float32 [n, answer]."""
        try:
            answer = self.client.predict(pictures, model=self.model, top_k=len(self.names))
        except OSError as error:
            raise DataError(f"{error.filename} can't be read: {error.strerror}") from error
        except ClientError as error:
            if error.status in BAD_PICTURE:
                raise DataError(
                    f"{self.client.url} refuses the pictures: {error.detail}; nothing was written"
                ) from error
            raise _no_answer(self.client.url, error) from error
        kind = "values" if self.task == "regression" else "probabilities"
        try:
            rows = [[prediction[kind][name] for name in self.names] for prediction in answer]
        except KeyError as error:
            raise ServiceError(
                f"{self.client.url} says nothing of {error}: was its model replaced meanwhile?"
            ) from error
        return np.array(rows, np.float32)


def _rule(picture: dict[str, Any]) -> PictureRule:
    """How the service prepares a photograph, for the grid."""
    height, width, resize = picture["height"], picture["width"], picture["resize"]
    side = picture.get("decoded_size", decoded_side(max(height, width), resize))
    return PictureRule((height, width), side, picture["channels"], resize)


def _groups(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Files that fit into one request; a large one goes alone."""
    group: list[Path] = []
    size = 0
    for path in paths:
        bytes_ = path.stat().st_size
        if group and (len(group) == GROUP_FILES or size + bytes_ > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(path)
        size += bytes_
    if group:
        yield group


def _no_answer(url: str, error: ClientError) -> ServiceError:
    if error.status is None:
        return ServiceError(f"url={url} can't be asked: {error.detail.removeprefix(f'{url}: ')}", hint="is it running?")
    hint = f"give the key in the environment: {KEY_VARIABLE}=…" if error.status in (401, 403) else ""
    return ServiceError(f"url={url} does not answer: {error}", hint=hint)
