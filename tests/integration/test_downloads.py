"""Downloads in the background: progress, pause, resume, cancel, and what a restart finds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.engines.downloads import Downloads, DownloadView
from services.engines.models import ModelStore
from services.engines.sources import http
from services.errors import GatedModel, NotFound
from tests.hub_server import HubServer
from tests.model_files import catalogue, entry, repository, safetensors, settings, whole

BIG = safetensors(bytes(range(256)) * 16_000)  # 4 MB: 2.5 s at the hub's slow pace


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(http, "PAUSE_S", 0.01)
    server = HubServer(repository() | {"model-00001-of-00002.safetensors": BIG})
    yield server
    server.close()


@pytest.fixture
def models(tmp_path: Path, hub: HubServer) -> ModelStore:
    tiny = entry(whole("huggingface") | {"size_bytes": len(BIG)})
    others = [tiny.model_copy(update={"id": f"other-{n}", "name": f"Other {n}"}) for n in range(3)]
    return ModelStore(settings(tmp_path, hub.url), catalogue(tiny, *others))


@pytest.fixture
def downloads(models: ModelStore) -> Iterator[Downloads]:
    running = Downloads(models)
    yield running
    running.close()


def only(downloads: Downloads) -> DownloadView:
    (view,) = downloads.list()
    return view


def until(met: Callable[[], bool], within_s: float = 15) -> None:
    end = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def receiving(downloads: Downloads, at_least: int = 500_000) -> DownloadView:
    """Wait until weights come in, and return the view of that moment."""
    until(lambda: any(v.step == "Downloading" and v.done >= at_least for v in downloads.list()))
    return only(downloads)


def test_a_download_shows_its_rate_and_is_done(downloads: Downloads, models: ModelStore, hub: HubServer) -> None:
    hub.slow_s = 0.02
    downloads.start("tiny", by="Li")
    until(lambda: only(downloads).rate_bytes_s is not None and only(downloads).done > 1_000_000)
    view = only(downloads)
    assert (view.state, view.source, view.started_by, view.error) == ("running", "huggingface", "Li", None)
    assert view.total > len(BIG)
    assert 0 < view.eta_s < 60
    until(lambda: only(downloads).state == "done")
    assert models.ready("tiny")
    assert list(models.downloads_dir.iterdir()) == []


def test_a_pause_takes_effect_within_two_seconds_and_keeps_what_is_there(
    downloads: Downloads, models: ModelStore, hub: HubServer
) -> None:
    hub.slow_s = 0.04
    downloads.start("tiny", by="Li")
    receiving(downloads)
    began = time.monotonic()
    downloads.pause("tiny")
    assert time.monotonic() - began < 2
    view = only(downloads)
    assert (view.state, view.rate_bytes_s, view.eta_s, view.error) == ("paused", None, None, None)
    asked = len(hub.requests)
    time.sleep(0.3)
    assert len(hub.requests) == asked
    hub.slow_s = 0
    downloads.resume("tiny", by="Wang")
    until(lambda: only(downloads).state == "done")
    assert only(downloads).started_by == "Wang"
    assert int(hub.downloads[-2][1].removeprefix("bytes=").rstrip("-")) >= 400_000


def test_a_silent_hub_does_not_hold_up_a_pause(downloads: Downloads, hub: HubServer) -> None:
    hub.stall_s = 20
    downloads.start("tiny", by="Li")
    until(lambda: only(downloads).state == "running")
    began = time.monotonic()
    downloads.pause("tiny")
    assert time.monotonic() - began < 2
    assert only(downloads).state == "paused"


def test_cancel_deletes_what_was_downloaded(downloads: Downloads, models: ModelStore, hub: HubServer) -> None:
    hub.slow_s = 0.04
    downloads.start("tiny", by="Li")
    receiving(downloads)
    began = time.monotonic()
    downloads.cancel("tiny")
    assert time.monotonic() - began < 2
    assert downloads.list() == []
    assert list(models.downloads_dir.iterdir()) == []
    with pytest.raises(NotFound):
        downloads.cancel("tiny")


def test_a_restart_finds_what_was_begun_as_paused(models: ModelStore, hub: HubServer) -> None:
    hub.slow_s = 0.04
    before = Downloads(models)
    before.start("tiny", by="Li")
    began = receiving(before)
    before.close()
    after = Downloads(models)
    view = only(after)
    assert (view.state, view.started_by, view.started_at) == ("paused", "Li", began.started_at)
    assert view.done >= 400_000
    assert view.total == len(BIG)
    hub.slow_s = 0
    after.resume("tiny", by="Li")
    until(lambda: only(after).state == "done")
    after.close()


def test_what_the_console_left_behind_is_found_too(models: ModelStore, downloads: Downloads) -> None:
    part = models.downloads_dir / "tiny" / "files" / "model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    assert (only(downloads).state, only(downloads).done) == ("paused", 1000)
    downloads.cancel("tiny")
    assert downloads.list() == []


def test_a_failure_says_why_and_can_be_tried_again(downloads: Downloads, models: ModelStore, hub: HubServer) -> None:
    hub.token = "hf_mine"
    downloads.start("tiny", by="Li")
    until(lambda: only(downloads).state == "failed")
    assert isinstance(only(downloads).error, GatedModel)
    hub.token = ""
    downloads.resume("tiny", by="Li")
    until(lambda: only(downloads).state == "done")
    assert only(downloads).error is None


def test_two_run_at_once_and_the_third_waits_its_turn(downloads: Downloads, hub: HubServer) -> None:
    hub.slow_s = 0.02
    for n in range(3):
        downloads.start(f"other-{n}", by="Li")
    until(lambda: [view.state for view in downloads.list()] == ["running", "running", "queued"])
    (waiting,) = [view.model_id for view in downloads.list() if view.state == "queued"]
    began = time.monotonic()
    downloads.pause(waiting)
    assert time.monotonic() - began < 2
    assert [view.state for view in downloads.list()] == ["running", "running", "paused"]
    downloads.resume(waiting, by="Li")
    until(lambda: [view.state for view in downloads.list()] == ["done"] * 3, within_s=40)


def test_ordering_twice_is_ordering_once(downloads: Downloads, hub: HubServer) -> None:
    hub.slow_s = 0.01
    threads = [threading.Thread(target=lambda: downloads.start("tiny", by="Li")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: only(downloads).state == "done")
    assert len([path for path, _, _ in hub.downloads if "00001-of" in path]) == 1


def test_a_model_that_is_removed_later_is_no_longer_shown_as_done(downloads: Downloads, models: ModelStore) -> None:
    downloads.start("tiny", by="Li")
    until(lambda: only(downloads).state == "done")
    models.remove("tiny")
    assert downloads.list() == []


def test_an_unknown_model_cannot_be_ordered(downloads: Downloads) -> None:
    with pytest.raises(NotFound):
        downloads.start("nothing", by="Li")
    for act in (downloads.pause, downloads.cancel):
        with pytest.raises(NotFound):
            act("tiny")
