"""Downloads that go on in the background: at most two at once; each can be paused, resumed and cancelled.

queued → running → done | failed; running → paused → queued. What a portal that ended left behind is found as paused.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from services.engines.models import ModelStore
from services.engines.sources.files import bytes_below
from services.engines.sources.patience import BEAT_S
from services.errors import FetchFailed, FetchInterrupted, NotFound, PortalError
from services.translation import N_

AT_ONCE = 2
STOP_S = 5.0  # what a download may take to notice that it is to stop
RATE_OVER_S = 10.0
ORDER = ("running", "queued", "paused", "failed", "done")


@dataclass(frozen=True)
class DownloadView:
    """state: queued, running, paused, failed or done. step: a msgid. done, total: of the step, bytes but where the step
    counts otherwise; total 0: not known. source: the kind that delivers, "" before one does.
    """

    model_id: str
    name: str
    state: str
    step: str
    done: int
    total: int
    rate_bytes_s: float | None
    eta_s: float | None
    source: str
    error: PortalError | None
    started_by: str
    started_at: datetime


@dataclass
class _Job:
    """stop: "" to go on, else the state to end in: paused, cancelled. readings: (time, done) of the step, lately."""

    model_id: str
    name: str
    by: str
    started_at: datetime
    state: str = "queued"
    stop: str = ""
    step: str = ""
    done: int = 0
    total: int = 0
    source: str = ""
    error: PortalError | None = None
    readings: deque = field(default_factory=deque)
    thread: threading.Thread | None = None

    def view(self) -> DownloadView:
        rate = self.rate() if self.state == "running" else None
        eta_s = (self.total - self.done) / rate if rate and self.total else None
        return DownloadView(
            model_id=self.model_id,
            name=self.name,
            state=self.state,
            step=self.step,
            done=self.done,
            total=self.total,
            rate_bytes_s=rate,
            eta_s=eta_s,
            source=self.source,
            error=self.error,
            started_by=self.by,
            started_at=self.started_at,
        )

    def rate(self) -> float | None:
        if len(self.readings) < 2:
            return None
        (began, had), (now, has) = self.readings[0], self.readings[-1]
        return (has - had) / (now - began) if now > began and has > had else None

    def note(self, step: str, done: int, total: int, now: float) -> None:
        if step != self.step or done < self.done:
            self.readings.clear()
        self.step, self.done, self.total = step, done, total
        self.readings.append((now, done))
        while self.readings[0][0] < now - RATE_OVER_S:
            self.readings.popleft()


class Downloads:
    """Thread-safe. Ends with close(): what runs is paused, and goes on when somebody resumes it."""

    def __init__(self, models: ModelStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._models = models
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._guard = threading.RLock()
        self._places = threading.Semaphore(AT_ONCE)

    def start(self, model_id: str, *, by: str) -> None:
        """Begin, or go on with what was begun; nothing happens where it runs already. by: a person's name.

        Raises NotFound.
        """
        name = self._models.entry(model_id).name
        with self._guard:
            running = self._jobs.get(model_id)
            if running is not None and running.state in ("queued", "running"):
                return
            job = _Job(model_id, name, by, datetime.now(UTC))
            self._jobs[model_id] = job
            self._record(job)
            job.thread = threading.Thread(target=self._run, args=(job,), name=f"download-{model_id}", daemon=True)
            job.thread.start()

    def resume(self, model_id: str, *, by: str) -> None:
        """Go on with a paused or failed download. Raises NotFound."""
        self.start(model_id, by=by)

    def pause(self, model_id: str) -> None:
        """Keep what is there and stop. Raises NotFound when nothing of it runs."""
        self._stop(self._active(model_id), "paused")

    def cancel(self, model_id: str) -> None:
        """Stop, and delete what was downloaded; a model that is ready stays. Raises NotFound when there is nothing."""
        with self._guard:
            job = self._jobs.get(model_id)
        if job is not None and job.state in ("queued", "running"):
            self._stop(job, "cancelled")
        elif job is None and model_id not in self._left_behind():
            raise self._no_download(model_id)
        self._models.drop_download(model_id)
        with self._guard:
            self._jobs.pop(model_id, None)
            self._record_path(model_id).unlink(missing_ok=True)

    def list(self) -> list[DownloadView]:
        """Running first, then queued, paused, failed, done; the newest of each first."""
        with self._guard:
            gone = [key for key, job in self._jobs.items() if job.state == "done" and not self._models.ready(key)]
            for key in gone:
                del self._jobs[key]
            views = [job.view() for job in self._jobs.values()]
        known = {view.model_id for view in views}
        views += [view for model_id, view in self._left_behind().items() if model_id not in known]
        return sorted(views, key=lambda view: (ORDER.index(view.state), -view.started_at.timestamp()))

    def close(self) -> None:
        with self._guard:
            active = [job for job in self._jobs.values() if job.state in ("queued", "running")]
            for job in active:
                job.stop = "paused"
        for job in active:
            job.thread.join(STOP_S)

    def _run(self, job: _Job) -> None:
        """The thread of one download. Another exception than a PortalError is a bug: it goes to the log."""
        ended, error = "failed", _broken()
        try:
            while not self._places.acquire(timeout=BEAT_S):
                self._check(job)
            try:
                self._check(job)
                with self._guard:
                    job.state = "running"
                self._models.ensure(
                    job.model_id,
                    lambda step, done, total: self._progress(job, step, done, total),
                    on_source=lambda source: setattr(job, "source", source),
                )
                ended, error = "done", None
                self._record_path(job.model_id).unlink(missing_ok=True)
            finally:
                self._places.release()
        except FetchInterrupted:
            ended, error = "paused", None
        except PortalError as failed:
            error = failed
        finally:
            with self._guard:
                job.state, job.error = ended, error
                job.readings.clear()

    def _progress(self, job: _Job, step: str, done: int, total: int) -> None:
        with self._guard:
            job.note(step, done, total, self._clock())
        self._check(job)

    def _check(self, job: _Job) -> None:
        if job.stop:
            raise FetchInterrupted(N_("The download of {name} was stopped."), name=job.name)

    def _stop(self, job: _Job, how: str) -> None:
        """Returns when it has stopped, or after STOP_S."""
        job.stop = how
        job.thread.join(STOP_S)

    def _active(self, model_id: str) -> _Job:
        with self._guard:
            job = self._jobs.get(model_id)
        if job is None or job.state not in ("queued", "running"):
            raise self._no_download(model_id)
        return job

    def _no_download(self, model_id: str) -> NotFound:
        return NotFound(N_("Nothing of {name} is being downloaded."), name=self._models.entry(model_id).name)

    # On the disk

    def _record_path(self, model_id: str) -> Path:
        return self._models.downloads_dir / f"{self._models.folder(model_id).name}.json"

    def _record(self, job: _Job) -> None:
        path = self._record_path(job.model_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"by": job.by, "started_at": job.started_at.isoformat()}), encoding="utf-8")

    def _left_behind(self) -> dict[str, DownloadView]:
        """Partial downloads by model id that no job of this portal knows."""
        folder = self._models.downloads_dir
        found = {path.name.removesuffix(".json") for path in folder.iterdir()} if folder.is_dir() else set()
        return {
            model_id: self._paused(model_id)
            for model_id in (self._models.ids() if found else [])
            if self._models.folder(model_id).name in found and not self._models.ready(model_id)
        }

    def _paused(self, model_id: str) -> DownloadView:
        folder = self._models.downloads_dir / self._models.folder(model_id).name
        by, started_at = _read_record(self._record_path(model_id))
        return DownloadView(
            model_id=model_id,
            name=self._models.entry(model_id).name,
            state="paused",
            step=N_("Downloading"),
            done=bytes_below(folder),
            total=self._models.variant(model_id).size_bytes,
            rate_bytes_s=None,
            eta_s=None,
            source="",
            error=None,
            started_by=by,
            started_at=started_at,
        )


def _read_record(path: Path) -> tuple[str, datetime]:
    """(who, when); ("", the epoch) when nobody wrote it down."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return str(record["by"]), datetime.fromisoformat(record["started_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", datetime.fromtimestamp(0, UTC)


def _broken() -> FetchFailed:
    return FetchFailed(N_("The download ended by a fault of the portal."), hint=N_("The portal's log has the details."))
