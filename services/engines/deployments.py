"""Deployments: which model serves which role, on engines that this portal starts, watches, stops and adopts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from db.database import Database
from services.engines.desk import Desk, Order
from services.engines.engine import Engine, EngineHome
from services.engines.hardware import read_hardware
from services.engines.launchers.base import Launcher
from services.engines.launchers.vllm import VllmLauncher
from services.engines.process import EngineProcess
from services.engines.run_record import RoleLock, RunRecord, RunRecords
from services.engines.start_times import StartTimes
from services.engines.states import Endpoint, EngineState, EngineStatus
from services.engines.supervisor import Equipment, ReadyModels, Supervisor
from services.errors import EngineError, NotFound
from services.settings import Settings
from services.translation import N_

__all__ = ["Deployments", "Endpoint", "EngineState", "EngineStatus"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Post:
    """All that belongs to one role."""

    desk: Desk
    home: EngineHome
    lock: RoleLock
    supervisor: Supervisor


class Deployments:
    """Thread-safe. Roles are independent of each other; each has its own engine, lock, log and thread."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        models: ReadyModels,
        *,
        launcher_for: Callable[[str], Launcher] | None = None,
    ) -> None:
        """launcher_for: the launcher of a model id; vLLM for all of them unless given."""
        self._settings = settings
        self._models = models
        self._starts = StartTimes(database)
        self._launcher_for = launcher_for or _vllm_for(settings)
        self._posts: dict[str, _Post] = {}
        self._guard = threading.Lock()

    def start(self, role: str, model_id: str) -> None:
        """Order the model and return at once; nothing happens when it is served or starting already.

        Another model in the role is stopped first. Raises NotFound for an id that the catalogue does not have, and
        EngineError when another process looks after the role.
        """
        self._models.entry(model_id)
        post = self._post(role)
        self._require(post)
        post.desk.order_model(model_id, lambda: self._describe(model_id))
        with self._guard:
            post.supervisor.ensure_running()

    def stop(self, role: str, *, wait: bool = True, drain_s: float = 0.0) -> None:
        """Order that nothing runs; with `wait`, return when no process of the engine lives.

        drain_s: how long answers that are being given may go on. Raises EngineError when another process looks
        after the role.
        """
        post = self._post(role)
        self._require(post)
        post.desk.order_nothing(drain_s=drain_s, wait=wait)

    def status(self, role: str) -> EngineStatus:
        """A snapshot from memory: no I/O."""
        return self._post(role).desk.status()

    def endpoint(self, role: str) -> Endpoint:
        """Raises EngineNotReady, EngineStartFailed or ModelFilesError: what status() explains."""
        return self._post(role).desk.endpoint()

    def wait_ready(self, role: str, timeout_s: float) -> EngineStatus:
        """The status when the engine is ready, has failed or is stopped, or when the time is up."""
        settled = (EngineState.READY, EngineState.FAILED, EngineState.STOPPED)
        return self._post(role).desk.wait_for_state(settled, timeout_s)

    def report_failure(self, role: str) -> None:
        """A request found the engine dead or hanging: it is asked for a token, and restarted if none comes."""
        self._post(role).desk.suspect()

    def log_tail(self, role: str, lines: int) -> list[str]:
        """The last lines of the engine's log, oldest first."""
        return self._post(role).home.log.tail(lines)

    def adopt(self) -> None:
        """At the start of a portal: go on with engines that live, and clean away what is left of dead ones."""
        for role in RunRecords(self._settings.engines_dir).roles():
            post = self._post(role)
            record = post.home.records.load(role)
            if not post.lock.take():
                log.warning("another process looks after the engine of role %s", role)
            elif record is None:
                post.home.records.remove(role)
            else:
                self._adopt(post, record)

    def close(self, *, stop_engines: bool) -> None:
        """End all threads. Engines that are not stopped live on and can be adopted."""
        with self._guard:
            posts = list(self._posts.values())
        held = [post for post in posts if post.lock.held]
        if stop_engines:
            for post in held:
                self.stop(post.desk.role, wait=False)
            for post in held:
                self.stop(post.desk.role)
        for post in posts:
            post.desk.close()
        for post in posts:
            post.supervisor.join()
            post.lock.release()

    def _adopt(self, post: _Post, record: RunRecord) -> None:
        process = EngineProcess(record.identity)
        if not (process.alive() and self._launched_alike(post.home, record)):
            log.info("cleaning away engine %d of role %s", record.pid, record.role)
            if process.stop(self._settings.engine_stop_timeout_s if process.alive() else 0):
                post.home.records.remove(record.role)
            return
        engine = Engine(post.home, record, process, self._models.path(record.model_id))
        post.desk.give(Order(record.model_id))
        loading_s = 0.0 if record.was_ready else engine.running_s
        post.desk.enter(
            EngineState.STARTING,
            since=time.monotonic() - loading_s,
            pid=record.pid,
            **self._describe(record.model_id),
        )
        with self._guard:
            post.supervisor.ensure_running(engine)

    def _launched_alike(self, home: EngineHome, record: RunRecord) -> bool:
        """Whether the same launch would be made today; not so after a change of settings, model or portal."""
        try:
            path = self._models.path(record.model_id)
        except NotFound:
            return False
        return home.fingerprint(self._launcher_for(record.model_id), record.model_id, path) == record.fingerprint

    def _describe(self, model_id: str) -> dict[str, object]:
        return {
            "model_id": model_id,
            "model_name": self._models.entry(model_id).name,
            "typical_start_s": self._starts.typical_s(model_id),
        }

    def _require(self, post: _Post) -> None:
        if not post.lock.take():
            raise EngineError(
                N_("Another process of the portal looks after the model."),
                hint=N_("Use the portal that is running, or stop it first."),
            )

    def _post(self, role: str) -> _Post:
        with self._guard:
            if role not in self._posts:
                self._posts[role] = self._new_post(role)
            return self._posts[role]

    def _new_post(self, role: str) -> _Post:
        folder = self._settings.engines_dir
        desk = Desk(role)
        home = EngineHome(folder, role, self._settings.engine_log_mib)
        equipment = Equipment(self._settings, self._models, self._launcher_for, self._starts)
        return _Post(desk, home, RoleLock(folder, role), Supervisor(desk, home, equipment))


def _vllm_for(settings: Settings) -> Callable[[str], Launcher]:
    """vLLM for every model; the hardware is looked at when the first engine is launched."""

    @cache
    def launcher() -> Launcher:
        return VllmLauncher(settings, read_hardware())

    return lambda _model_id: launcher()
