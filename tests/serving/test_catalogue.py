from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundles import make_bundle

from mlstack.bundle.folder import Bundle
from mlstack.config.serving import ServeSettings
from mlstack.errors import BundleError, ConfigError, HardwareError
from mlstack.serving.catalogue import Catalogue
from mlstack.serving.problems import Problem
from mlstack.serving.scheduler import Scheduler
from mlstack.serving.served_model import ServedModel

PATIENCE = 30.0  # seconds after which a test that hangs fails
PICTURE = np.full((1, 8, 8, 1), 100, np.uint8)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(1, queue_images=100, queue_bytes=10**7)
    yield scheduler
    scheduler.close()


@pytest.fixture
def catalogue_of(scheduler: Scheduler, tmp_path: Path) -> Iterator[Callable[..., Catalogue]]:
    made = []

    def make(
        *bundles: Path | str, load: bool = True, on_change: Any = None, on_refusal: Any = None, **settings: Any
    ) -> Catalogue:
        names = [str(one) for one in bundles]
        options = ServeSettings(**{"device": "cpu", "max_batch": 4, **settings})
        catalogue = Catalogue(
            names, str(tmp_path / "outputs"), options, scheduler, on_change=on_change, on_refusal=on_refusal
        )
        made.append(catalogue)
        if load:
            catalogue.load()
        return catalogue

    yield make
    for catalogue in made:
        asyncio.run(catalogue.close())


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def short(events: list[dict[str, Any]]) -> list[tuple[str, str | None, str]]:
    return [(event["label"], event["version"], event["result"]) for event in events]


def versions(catalogue: Catalogue) -> dict[str, str]:
    return {label: model.metadata.version for label, model in catalogue.models.items()}


def spoil(bundle: Bundle) -> None:
    """Change a bundle's model and touch its metadata, as a copy that went wrong would."""
    (bundle.path / "model.onnx").write_bytes(b"no model")
    os.utime(bundle.path / "metadata.json")


def test_a_bundle_is_called_as_its_folder_and_a_runs_bundle_as_its_metadata_say(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    make_bundle(tmp_path / "cats and dogs")
    make_bundle(tmp_path / "run" / "bundle", name="digits_resnet18")
    catalogue = catalogue_of(tmp_path / "cats and dogs", tmp_path / "run")
    assert list(catalogue.models) == ["cats-and-dogs", "digits_resnet18"]
    assert catalogue.get(None).label == "cats-and-dogs"
    assert catalogue.get("digits_resnet18").label == "digits_resnet18"
    with pytest.raises(Problem, match="no model 'dogs'; there are: cats-and-dogs, digits_resnet18") as caught:
        catalogue.get("dogs")
    assert caught.value.status == 404


def test_the_default_model_is_the_one_that_is_set(tmp_path: Path, catalogue_of: Callable[..., Catalogue]) -> None:
    bundles = [make_bundle(tmp_path / name).path for name in ("a", "b")]
    assert catalogue_of(*bundles, default="b").get(None).label == "b"


def test_the_newest_bundle_of_all_runs_is_found_and_the_same_folder_is_served_once(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    bundle = make_bundle(tmp_path / "outputs" / "exp" / "today" / "bundle", name="newest")
    assert versions(catalogue_of("latest", bundle.path, bundle.path.parent)) == {"newest": "1"}


def test_models_of_the_same_name_are_told_apart_by_their_versions(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    for run_name, version in (("one", "1"), ("two", "2"), ("three", "2")):
        make_bundle(tmp_path / run_name / "bundle", version=version)
    catalogue = catalogue_of(tmp_path / "one", tmp_path / "two")
    assert versions(catalogue) == {"digits_tiny@1": "1", "digits_tiny@2": "2"}
    with pytest.raises(ConfigError, match=r"two/bundle and .*three/bundle would both be called digits_tiny@2"):
        catalogue_of(tmp_path / "one", tmp_path / "two", tmp_path / "three")


def test_a_folder_of_bundles_serves_each_of_them_and_skips_what_is_none(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue], caplog: pytest.LogCaptureFixture
) -> None:
    make_bundle(tmp_path / "models" / "b")
    make_bundle(tmp_path / "models" / "a")
    make_bundle(tmp_path / "models" / "run" / "bundle", name="c")
    make_bundle(tmp_path / "models" / ".d.123")
    (tmp_path / "models" / "notes").mkdir()
    spoil(make_bundle(tmp_path / "models" / "spoilt"))
    assert list(catalogue_of(tmp_path / "models").models) == ["a", "b", "c"]
    assert "notes is skipped: no bundle in there" in caplog.text
    assert "spoilt is refused" in caplog.text


def test_a_bundle_that_is_named_has_to_be_whole_at_the_start(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    bundle = make_bundle(tmp_path / "a")
    spoil(bundle)
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        catalogue_of(bundle.path)
    (bundle.path / "metadata.json").write_text("{")
    with pytest.raises(BundleError, match=r"metadata\.json"):
        catalogue_of(bundle.path)
    with pytest.raises(BundleError, match="no bundle there"):
        catalogue_of(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="bundle=latest"):
        catalogue_of("latest")


def test_a_device_that_is_not_there_is_said_at_the_start(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    make_bundle(tmp_path / "models" / "a")
    with pytest.raises(HardwareError):
        catalogue_of(tmp_path / "models", device="cuda")


def test_an_empty_folder_is_waited_for_unless_nobody_looks(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(BundleError, match="no bundle in there that can be served"):
        catalogue_of(tmp_path / "models", reload_s=0)
    catalogue = catalogue_of(tmp_path / "models")
    with pytest.raises(Problem) as caught:
        catalogue.get(None)
    assert caught.value.status == 503

    async def main() -> None:
        loaded = asyncio.Event()
        catalogue._on_change = lambda model, what: loaded.set()
        watch = asyncio.get_running_loop().create_task(catalogue.watch(0.01))
        await asyncio.to_thread(make_bundle, tmp_path / "models" / "first")
        await loaded.wait()
        watch.cancel()
        assert versions(catalogue) == {"first": "1"}

    run(main)


def test_a_replaced_bundle_is_swapped_in_and_bundles_come_and_go(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    seen = []
    make_bundle(tmp_path / "models" / "a")
    catalogue = catalogue_of(tmp_path / "models", on_change=lambda model, what: seen.append((model.label, what)))

    async def main() -> None:
        assert short(await catalogue.reload()) == [("a", "1", "unchanged")]
        before = catalogue.models["a"]
        make_bundle(tmp_path / "models" / "a", version="2", seed=1)
        make_bundle(tmp_path / "models" / "b")
        assert short(await catalogue.reload()) == [("a", "2", "loaded"), ("b", "1", "loaded")]
        assert versions(catalogue) == {"a": "2", "b": "1"}
        with pytest.raises(Problem):
            await before.lane.submit(PICTURE)
        shutil.rmtree(tmp_path / "models" / "b")
        assert short(await catalogue.reload()) == [("b", "1", "removed"), ("a", "2", "unchanged")]
        assert versions(catalogue) == {"a": "2"}

    run(main)
    assert seen == [("a", "loaded"), ("a", "loaded"), ("b", "loaded"), ("b", "removed")]


def test_a_broken_bundle_never_replaces_a_good_one_and_is_tried_again_only_when_asked(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue], caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(tmp_path / "a")
    catalogue = catalogue_of(tmp_path / "a")
    good = catalogue.models["a"]

    async def main() -> None:
        spoil(bundle)
        await catalogue._refresh(explicit=False)
        await catalogue._refresh(explicit=False)
        assert caplog.text.count("a is refused") == 1
        events = await catalogue.reload()
        assert short(events) == [("a", "1", "refused")]
        assert "model.onnx was changed" in events[0]["detail"]
        assert catalogue.models == {"a": good}
        await good.lane.submit(PICTURE)
        shutil.rmtree(bundle.path)
        await catalogue._refresh(explicit=False)
        assert catalogue.models == {"a": good}
        make_bundle(tmp_path / "a", version="3")
        assert short(await catalogue.reload()) == [("a", "3", "loaded")]

    run(main)


def test_a_bundle_that_is_refused_is_told_by_name_also_where_nothing_was_served_before(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    told: list[str] = []
    models = tmp_path / "models"
    make_bundle(models / "good")
    spoil(make_bundle(models / "at the start"))
    (make_bundle(models / "run 1" / "bundle").path / "metadata.json").write_text("{")
    catalogue = catalogue_of(models, on_refusal=told.append)
    assert told == ["run-1", "at-the-start"]  # whose metadata can't be read is found out first

    async def main() -> None:
        told.clear()
        spoil(make_bundle(models / "new"))
        for _ in range(2):
            await catalogue._refresh(explicit=False)
        assert told == ["new"]
        told.clear()
        spoil(catalogue.models["good"].bundle)
        events = await catalogue.reload()
        assert told == [event["label"] for event in events] == ["at-the-start", "good", "new", "run-1"]
        assert {event["result"] for event in events} == {"refused"}

    run(main)
    assert versions(catalogue) == {"good": "1"}


def test_a_bundle_whose_name_is_another_ones_is_told_by_its_folder(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    told: list[str] = []
    make_bundle(tmp_path / "models" / "one" / "bundle")
    catalogue = catalogue_of(tmp_path / "models", on_refusal=told.append)

    async def main() -> None:
        for name, version in (("two", "2"), ("three", "2")):
            make_bundle(tmp_path / "models" / name / "bundle", version=version)
            await catalogue.reload()

    run(main)
    assert told == ["three"]
    assert versions(catalogue) == {"digits_tiny": "1", "digits_tiny@2": "2"}


def test_what_the_service_refuses_is_not_served(tmp_path: Path, catalogue_of: Callable[..., Catalogue]) -> None:
    def picky(model: ServedModel, what: str) -> None:
        if what == "loaded" and model.metadata.version == "2":
            raise BundleError("not this one")

    make_bundle(tmp_path / "a")
    catalogue = catalogue_of(tmp_path / "a", on_change=picky)

    async def main() -> None:
        make_bundle(tmp_path / "a", version="2")
        (event,) = await catalogue.reload()
        assert (event["result"], event["detail"]) == ("refused", "not this one")
        await catalogue.get("a").lane.submit(PICTURE)

    run(main)
    assert versions(catalogue) == {"a": "1"}


def test_a_newer_run_is_served_as_latest_when_that_is_asked_for(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    older = make_bundle(tmp_path / "outputs" / "exp" / "1" / "bundle")
    catalogue = catalogue_of("latest")

    async def main() -> None:
        newer = make_bundle(tmp_path / "outputs" / "exp" / "2" / "bundle", version="2")
        metadata = newer.path / "metadata.json"
        metadata.write_text(metadata.read_text().replace("2026-11-22T10", "2026-11-22T11"))
        await catalogue._refresh(explicit=False)
        assert versions(catalogue) == {"digits_tiny": "1"}
        kept = (newer.path / "model.onnx").read_bytes()
        (newer.path / "model.onnx").write_bytes(b"no model")
        assert [event["result"] for event in await catalogue.reload()] == ["refused"]
        assert versions(catalogue) == {"digits_tiny": "1"}
        (newer.path / "model.onnx").write_bytes(kept)
        assert [event["result"] for event in await catalogue.reload()] == ["loaded", "removed"]
        assert versions(catalogue) == {"digits_tiny": "2"}
        assert catalogue.get(None).bundle.path != older.path

    run(main)


def test_a_model_in_use_is_closed_when_its_last_user_has_gone(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    make_bundle(tmp_path / "a")
    catalogue = catalogue_of(tmp_path / "a")

    async def main() -> None:
        old = catalogue.get("a")
        with catalogue.lease(old):
            with catalogue.lease(old):
                make_bundle(tmp_path / "a", version="2")
                await catalogue.reload()
                assert catalogue.get("a") is not old
            await old.lane.submit(PICTURE)
        with pytest.raises(Problem):
            await old.lane.submit(PICTURE)

    run(main)


def test_a_reload_that_nobody_waits_for_any_more_is_finished(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue]
) -> None:
    make_bundle(tmp_path / "a")
    catalogue = catalogue_of(tmp_path / "a")

    async def main() -> None:
        make_bundle(tmp_path / "a", version="2")
        gone = asyncio.get_running_loop().create_task(catalogue.reload())
        await asyncio.sleep(0)
        gone.cancel()
        assert short(await catalogue.reload()) == [("a", "2", "unchanged")]

    run(main)


def test_fifty_reloads_under_load_lose_no_request_and_leave_nothing_behind(
    tmp_path: Path, catalogue_of: Callable[..., Catalogue], scheduler: Scheduler
) -> None:
    make_bundle(tmp_path / "a")
    catalogue = catalogue_of(tmp_path / "a")

    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    async def ask(stop: asyncio.Event) -> int:
        asked = 0
        while not stop.is_set():
            model = catalogue.get("a")
            with catalogue.lease(model):
                await model.lane.submit(PICTURE)
            asked += 1
        return asked

    async def main() -> None:
        stop = asyncio.Event()
        clients = [asyncio.get_running_loop().create_task(ask(stop)) for _ in range(4)]
        marks, models = [], weakref.WeakSet([catalogue.get("a")])
        for version in range(2, 52):
            make_bundle(tmp_path / "a", version=str(version), seed=version)
            assert short(await catalogue.reload()) == [("a", str(version), "loaded")]
            assert len(scheduler._lanes) <= 2  # the one before may still be answering
            models.add(catalogue.get("a"))
            marks.append(held())
        stop.set()
        assert min(await asyncio.gather(*clients)) > 0
        assert marks[-1] == marks[5]
        assert len(scheduler._lanes) == 1
        del clients
        gc.collect()
        assert list(models) == [catalogue.get("a")]

    run(main)
    assert not catalogue._leases._users and not catalogue._leases._retired
