"""A bundle whose two versions take each other's place, and a judge of answers that knows both."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from steady_client import connected, differs_from, post, read_answer
from tiny_bundles import make_bundle

from mlstack.bundle.folder import write_bundle
from mlstack.bundle.session import Session


class TwoVersions:
    """Versions "1" and "2" of one tiny model, with different weights.

    Args:
        path: Where the bundle stands that is served; the two lie beside it.

    Attributes:
        pictures: uint8 [n, 8, 8, 1].
        answered: Answers by version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stored = {
            version: make_bundle(path.parent / "versions" / version, version=version, seed=int(version))
            for version in ("1", "2")
        }
        self.pictures = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
        outputs = {one: Session(bundle.model()).run(self.pictures).output for one, bundle in self._stored.items()}
        self._judge = differs_from(outputs, self._stored["1"].metadata.classes)
        self.answered: Counter[str] = Counter()
        self._current = "2"
        self.exchange()

    def exchange(self) -> str:
        """Put the other version in the place of the one that stands there, and tell which."""
        self._current = {"1": "2", "2": "1"}[self._current]
        with write_bundle(self.path) as staging:
            shutil.copytree(self._stored[self._current].path, staging, dirs_exist_ok=True)
        return self._current

    async def reload(self, port: int) -> None:
        """Ask the service to look; returns when it answers from the new version."""
        async with connected(port) as (reader, writer):
            writer.write(post("/admin/reload", b"", "application/json"))
            answer = await asyncio.wait_for(read_answer(reader), 30)
        assert answer.status == 200, answer.body
        assert [one["result"] for one in _results(json.loads(answer.body))] == ["loaded"], answer.body

    def wrong(self, place: int, answer: Any) -> str:
        """What is wrong with an answer to picture `place`; empty = nothing."""
        self.answered[answer["version"]] += 1
        return self._judge(place, answer)


def _results(body: Any) -> list[dict[str, Any]]:
    return body if isinstance(body, list) else body["models"]
