"""Who uses a model: one that was replaced is closed when its last user has gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlstack.serving.served_model import ServedModel


class Leases:
    """Counts the users of models. On the event loop only.

    Attributes:
        closed_some: A model was closed; whoever gives its memory back clears this.
    """

    def __init__(self) -> None:
        self.closed_some = False
        self._users: dict[ServedModel, int] = {}
        self._retired: set[ServedModel] = set()

    @contextmanager
    def lease(self, model: ServedModel) -> Iterator[ServedModel]:
        """Keep a model open as long as the block lasts."""
        self._users[model] = self._users.get(model, 0) + 1
        try:
            yield model
        finally:
            self._users[model] -= 1
            if not self._users[model]:
                del self._users[model]
                if model in self._retired:
                    self._close(model)

    def retire(self, model: ServedModel) -> None:
        """Close a model, now or when its last user has gone."""
        if model in self._users:
            self._retired.add(model)
        else:
            self._close(model)

    def _close(self, model: ServedModel) -> None:
        self._retired.discard(model)
        model.close()
        self.closed_some = True
