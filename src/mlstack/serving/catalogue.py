"""The models that are served, and how a new bundle takes the place of an old one while requests go on.

A bundle is loaded, warmed up and checked in a thread beside the running models. Only then it is swapped in, by one
assignment; the old model is closed when the last request that uses it has been answered. A bundle that fails any
check is refused, and what was served before is served on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlstack.bundle.folder import read_bundle
from mlstack.bundle.session import give_back_memory
from mlstack.config.serving import ServeSettings
from mlstack.errors import BundleError, MLStackError
from mlstack.serving.discovery import Found, Signature, discover, name_bundles, own_name, settle_latest, signature_of
from mlstack.serving.leases import Leases
from mlstack.serving.problems import not_found, not_ready
from mlstack.serving.scheduler import Scheduler
from mlstack.serving.served_model import ServedModel, load_model

LOG = logging.getLogger("mlstack.serving.catalogue")
TRIES = 3  # to load a bundle that is replaced by another one meanwhile

OnChange = Callable[[ServedModel, str], None]


@dataclass(slots=True)
class Place:
    """A folder with a bundle, and what became of it.

    Attributes:
        path: The folder.
        named: `bundle=` names it: it may be broken for a while, but is never given up.
        label: What its model is called; empty until its metadata.json could be read.
        model: Its model; None = it was refused, and nothing was served from there before.
        seen: The signature that was tried last.
        refusal: Why that one is not served; empty = it is.
        leaving: `latest` means another folder now: this one goes when that one is served.
    """

    path: Path
    named: bool
    label: str = ""
    model: ServedModel | None = None
    seen: Signature | None = None
    refusal: str = ""
    leaving: bool = False


class Catalogue:
    """The models that are served, by their names.

    Args:
        bundles: Bundle folders, run folders, or folders of bundles; `latest`.
        output_dir: Where `latest` is looked for. It is looked up at the start and by `reload`, not every other second:
            the newest run may be about something else.
        settings: How models are loaded.
        scheduler: Whose workers run them.
        on_change: Told of a model before it is `loaded`, which a `MLStackError` prevents, and once it is `removed`.
        on_refusal: Told the name of a bundle that is refused, whether or not an older model of it is served on.
        on_batch: Told of each batch: the model's name, its images, and its time in seconds.

    Attributes:
        models: By name. Replaced as a whole, never changed: whoever holds one may go through it.
    """

    def __init__(
        self,
        bundles: Sequence[str],
        output_dir: str,
        settings: ServeSettings,
        scheduler: Scheduler,
        *,
        on_change: OnChange | None = None,
        on_refusal: Callable[[str], None] | None = None,
        on_batch: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self.models: dict[str, ServedModel] = {}
        self._bundles = list(bundles)
        self._output_dir = output_dir
        self._folders: list[str] = []
        self._settings = settings
        self._scheduler = scheduler
        self._on_change = on_change
        self._on_refusal = on_refusal
        self._on_batch = on_batch
        self._places: dict[Path, Place] = {}
        self._others: set[Path] = set()
        self._leases = Leases()
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bundles")

    def load(self) -> None:
        """Load everything that is there, before the service starts.

        Raises:
            BundleError: A bundle that is named can't be served, or there is none and none is waited for.
            ConfigError: Two models would have the same name.
            HardwareError: The device is not there.
        """
        found = self._look(settle=True)
        self._places = {one.path: Place(one.path, one.named) for one in found}
        for path, label in name_bundles([one.path for one in found if self._is_readable(one)], {}).items():
            self._places[path].label = label
        for one in found:
            place = self._places[one.path]
            if place.seen is None:
                try:
                    self._swap(place, one.signature, self._load(place))
                except BundleError as error:
                    if one.named:
                        raise
                    self._refuse(place, one.signature, error)
        if not self.models and not self._settings.reload_s:
            raise BundleError(
                f"bundle={','.join(self._bundles)}: no bundle in there that can be served",
                hint="serve.reload_s=2 waits for one",
            )

    def get(self, label: str | None) -> ServedModel:
        """A model by its name; None = the one that `default` names, or else the first.

        Raises:
            Problem: 404 = no model of that name; 503 = no model at all yet.
        """
        models = self.models
        if not models:
            raise not_ready("no model is loaded yet")
        wanted = label or self._settings.default or next(iter(models))
        if wanted not in models:
            raise not_found(f"no model {wanted!r}; there are: {', '.join(models)}")
        return models[wanted]

    def lease(self, model: ServedModel) -> AbstractContextManager[ServedModel]:
        """Keep a model open as long as the block lasts, even when it is replaced meanwhile."""
        return self._leases.lease(model)

    async def reload(self) -> list[dict[str, Any]]:
        """Look at all bundles now, refused ones and `latest` included.

        Returns:
            For each model `label`, `version`, `result` (loaded, unchanged, refused, removed) and `detail`.
        """
        # A client that goes away shall not leave a model behind that is loaded and that nobody knows.
        return await asyncio.shield(asyncio.ensure_future(self._refresh(explicit=True)))

    async def watch(self, seconds: float) -> None:
        """Look for changed bundles every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.shield(asyncio.ensure_future(self._refresh(explicit=False)))

    async def close(self) -> None:
        """Close every model. Requests that wait in a queue get 503."""
        async with self._turn:
            for model in self.models.values():
                model.close()
            self.models = {}
            self._thread.shutdown(wait=True)

    async def _refresh(self, *, explicit: bool) -> list[dict[str, Any]]:
        async with self._turn:
            in_thread = partial(asyncio.get_running_loop().run_in_executor, self._thread)
            try:
                found = await in_thread(partial(self._look, settle=explicit))
            except (MLStackError, OSError) as error:
                LOG.warning("bundles can't be looked for: %s", error)
                return [_event(None, "refused", str(error))]
            events = [self._vanish(place) for place in self._gone({one.path for one in found})]
            self._mark_leaving({one.path for one in found})
            for one in found:
                place = self._places.setdefault(one.path, Place(one.path, one.named))
                if one.signature == place.seen and not (explicit and place.refusal):
                    events.append(_event(place, "unchanged", place.refusal))
                    continue
                try:
                    self._swap(place, one.signature, await in_thread(partial(self._load, place)))
                    events.append(_event(place, "loaded"))
                except Exception as error:  # noqa: BLE001 - whatever a bundle breaks, the others are served on
                    self._refuse(place, one.signature, error)
                    events.append(_event(place, "refused", place.refusal))
            if not any(self._places[one.path].refusal for one in found):
                events += [self._vanish(place) for place in list(self._places.values()) if place.leaving]
            return events

    def _look(self, *, settle: bool) -> list[Found]:
        """The bundles that are there now; in the loading thread, but for the start."""
        if self._leases.closed_some:
            self._leases.closed_some = False
            give_back_memory()
        if settle or not self._folders:
            self._folders = settle_latest(self._bundles, self._output_dir)
        found, others = discover(self._folders)
        for path in others:
            if path not in self._others:
                LOG.warning("%s is skipped: no bundle in there", path)
        self._others = set(others)
        return found

    def _load(self, place: Place) -> ServedModel:
        """A model that is ready; in the loading thread, but for the start."""
        if not place.label:
            taken = {one.label: path for path, one in self._places.items() if one.label and not one.leaving}
            place.label = name_bundles([place.path], taken)[place.path]
        for _ in range(TRIES):
            before = signature_of(place.path)
            try:
                model = self._load_once(place)
            except BundleError:
                if signature_of(place.path) == before:
                    raise
                continue
            if signature_of(place.path) == before:
                return model
            model.close()
        raise BundleError(f"{place.path} was replaced again and again while it was read")

    def _load_once(self, place: Place) -> ServedModel:
        told = None if self._on_batch is None else partial(self._on_batch, place.label)
        settings, scheduler = self._settings, self._scheduler
        return load_model(place.path, label=place.label, settings=settings, scheduler=scheduler, on_batch=told)

    def _swap(self, place: Place, signature: Signature, model: ServedModel) -> None:
        """Serve a model that is ready, in the place of the one before it."""
        if self._on_change is not None:
            try:
                self._on_change(model, "loaded")
            except MLStackError:
                model.close()
                raise
        before, place.model = place.model, model
        place.seen, place.refusal = signature, ""
        self._publish()
        LOG.info("%s %s is served from %s", place.label, model.metadata.version, place.path)
        if before is not None:
            self._leases.retire(before)

    def _refuse(self, place: Place, signature: Signature, error: Exception) -> None:
        place.seen, place.refusal = signature, str(error) or type(error).__name__
        unforeseen = not isinstance(error, MLStackError)
        LOG.warning("%s is refused: %s", place.path, place.refusal, exc_info=error if unforeseen else None)
        if self._on_refusal is not None:
            self._on_refusal(place.label or own_name(place.path))

    def _gone(self, there: set[Path]) -> list[Place]:
        """Places to be given up: no bundle is there any more. Where `bundle=` names one, its model stays."""
        missing = [place for path, place in self._places.items() if path not in there]
        for place in missing:
            if place.named and place.seen is not None:
                place.seen, place.refusal = None, f"{place.path} holds no bundle any more"
        return [place for place in missing if not place.named]

    def _mark_leaving(self, there: set[Path]) -> None:
        folders = {Path(one).expanduser().absolute() for one in self._folders}
        for path, place in self._places.items():
            place.leaving = path not in there and not folders & {path, path.parent}

    def _vanish(self, place: Place) -> dict[str, Any]:
        """Give up a place and its model, whose name may be another one's already."""
        del self._places[place.path]
        self._publish()
        LOG.info("%s is no longer served from %s", place.label, place.path)
        event = _event(place, "removed", str(place.path))
        if place.model is not None:
            self._leases.retire(place.model)
            if self._on_change is not None and place.label not in self.models:
                self._on_change(place.model, "removed")
        return event

    def _publish(self) -> None:
        self.models = {place.label: place.model for place in self._places.values() if place.model is not None}

    def _is_readable(self, one: Found) -> bool:
        """Whether a bundle's metadata can be read; where not, it is refused, or the start is."""
        try:
            read_bundle(one.path, verify=False)
        except BundleError as error:
            if one.named:
                raise
            self._refuse(self._places[one.path], one.signature, error)
            return False
        return True


def _event(place: Place | None, result: str, detail: str = "") -> dict[str, Any]:
    """What happened to a bundle, for JSON; the version is that of the model that is served."""
    if place is None:
        return {"label": "", "version": None, "result": result, "detail": detail}
    version = place.model.metadata.version if place.model is not None else None
    label = place.label or own_name(place.path)
    return {"label": label, "version": version, "result": result, "detail": detail}
