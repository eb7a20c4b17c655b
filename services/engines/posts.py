"""The engines of this portal: for each deployment its desk, its home on disk, its supervisor and its observer."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import dataclass

from services.engines.desk import Desk, Order
from services.engines.engine import Engine, EngineHome
from services.engines.gate import Gate
from services.engines.observer import MemoryOf, Observer
from services.engines.options import Spec
from services.engines.process import EngineProcess, remove_shared_memory
from services.engines.run_record import EnginesLock, RunRecord, RunRecords
from services.engines.states import EngineState
from services.engines.supervisor import Equipment, Supervisor
from services.errors import EngineError, PortalError
from services.translation import N_

LOGS_KEPT = 30  # of deployments that are over

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Post:
    spec: Spec
    desk: Desk
    home: EngineHome
    supervisor: Supervisor
    observer: Observer

    @property
    def runs(self) -> bool:
        """Whether a process lives, or is about to."""
        return self.desk.state not in (EngineState.STOPPED, EngineState.FAILED)

    @property
    def serves(self) -> bool:
        """Whether it answers, or will for the next who asks."""
        return self.runs or self.desk.idle

    def members(self) -> list[int]:
        """Its engine's processes; none for a server elsewhere."""
        record = self.home.records.load(self.spec.id)
        return EngineProcess(record.identity).members() if record else []


class Posts:
    """Thread-safe. Deployments are independent of each other; each has its own engine, log and thread."""

    def __init__(self, equipment: Equipment, gate: Gate, memory_of: MemoryOf) -> None:
        self._equipment = equipment
        self._settings = equipment.settings
        self._gate = gate
        self._memory_of = memory_of
        self._records = RunRecords(self._settings.engines_dir)
        self._lock = EnginesLock(self._settings.engines_dir)
        self._posts: dict[int, Post] = {}
        self._guard = threading.Lock()

    def post(self, spec: Spec) -> Post:
        """Made when it is first asked for; nothing runs by that."""
        with self._guard:
            if spec.id not in self._posts:
                self._posts[spec.id] = self._new(spec)
            return self._posts[spec.id]

    def known(self, deployment_id: int) -> Post | None:
        with self._guard:
            return self._posts.get(deployment_id)

    def run(self, spec: Spec) -> None:
        """Order that it runs, and return at once. Raises EngineError when another process looks after the engines."""
        self.require_ours()
        post = self.post(spec)
        post.desk.order_run(self._equipment.rows.typical_start_s(spec.model_id))
        with self._guard:
            post.supervisor.ensure_running()

    def stop(self, spec: Spec, *, wait: bool = True, drain_s: float = 0.0, failure: PortalError | None = None) -> None:
        """Order that nothing of it runs; with `wait`, return when nothing does. Raises EngineError as run does."""
        self.require_ours()
        post = self.post(spec)
        post.desk.order_stop(drain_s=drain_s, wait=wait and post.runs, failure=failure)

    def check(self, spec: Spec) -> None:
        """Raises EngineUnavailable when the engine is not there or does not have a setting."""
        launcher = self._equipment.launcher_for(spec.model_id, spec.settings)
        launcher.plan(self.post(spec).home.request(spec, self._equipment.models.path(spec.model_id)))

    def require_ours(self) -> None:
        if not self._lock.take():
            raise EngineError(
                N_("Another process of the portal looks after the model."),
                hint=N_("Use the portal that is running, or stop it first."),
            )

    def adopt(self, specs: dict[int, Spec]) -> bool:
        """At the start of a portal: go on with the engines of these deployments that live, clean away all others.

        False when another process looks after the engines.
        """
        if not self._lock.take():
            log.warning("another process looks after the engines")
            return False
        for path, identity in self._records.of_former_versions().items():
            if EngineProcess(identity).stop(self._settings.engine_stop_timeout_s):
                path.unlink()
        for deployment_id in self._records.deployment_ids():
            record, spec = self._records.load(deployment_id), specs.get(deployment_id)
            if record is None:
                self._records.remove(deployment_id)
            elif spec is not None and EngineProcess(record.identity).alive() and self._launched_alike(spec, record):
                self._go_on(spec, record)
            else:
                self._clean_away(record)
        self._remove_old_logs(set(specs))
        if not self._records.deployment_ids():
            shutil.rmtree(self._settings.engines_dir / "run", ignore_errors=True)  # sockets of engines that are gone
        return True

    def close(self, *, stop_engines: bool) -> None:
        """End all threads. Engines that are not stopped live on and can be adopted."""
        with self._guard:
            posts = list(self._posts.values())
        if stop_engines and self._lock.held:
            for post in posts:
                post.desk.order_stop(wait=False)
            for post in posts:
                self.stop(post.spec)
        for post in posts:
            post.desk.close()
        for post in posts:
            post.supervisor.join()
        self._lock.release()

    def _new(self, spec: Spec) -> Post:
        desk = Desk(spec)
        home = EngineHome(self._settings.engines_dir, spec.id, self._settings.engine_log_mib)
        observer = Observer(
            self._equipment.rows,
            self._memory_of,
            idle_s=lambda since: self._gate.idle_s(spec.id, since),
            running=lambda: self._gate.running(spec.id),
        )
        return Post(spec, desk, home, Supervisor(desk, home, self._equipment, observer), observer)

    def _go_on(self, spec: Spec, record: RunRecord) -> None:
        post = self.post(spec)
        launcher = self._equipment.launcher_for(spec.model_id, spec.settings)
        engine = Engine.adopt(post.home, record, launcher, self._equipment.models.path(spec.model_id))
        post.observer.launched(launcher)
        post.desk.give(Order(run=True))
        loading_s = 0.0 if record.was_ready else engine.running_s
        post.desk.enter(
            EngineState.STARTING,
            since=time.monotonic() - loading_s,
            pid=record.pid,
            typical_start_s=self._equipment.rows.typical_start_s(spec.model_id),
        )
        with self._guard:
            post.supervisor.ensure_running(engine)

    def _launched_alike(self, spec: Spec, record: RunRecord) -> bool:
        """Whether the same launch would be made today; not so after a change of settings, model or portal."""
        try:
            launcher = self._equipment.launcher_for(spec.model_id, spec.settings)
            path = self._equipment.models.path(spec.model_id)
            return self.post(spec).home.fingerprint(launcher, spec, path) == record.fingerprint
        except PortalError:
            return False

    def _clean_away(self, record: RunRecord) -> None:
        log.info("cleaning away engine %d of deployment %d", record.pid, record.deployment_id)
        process = EngineProcess(record.identity)
        segments = {*record.shared_memory, *process.shared_memory()}
        if process.stop(self._settings.engine_stop_timeout_s if process.alive() else 0):
            remove_shared_memory(segments)
            self._records.remove(record.deployment_id)

    def _remove_old_logs(self, in_use: set[int]) -> None:
        folder = self._settings.engines_dir
        ids = sorted((int(path.stem) for path in folder.glob("*.log") if path.stem.isdecimal()), reverse=True)
        for deployment_id in [id_ for id_ in ids if id_ not in in_use][LOGS_KEPT:]:
            for path in folder.glob(f"{deployment_id}.log*"):
                path.unlink()
