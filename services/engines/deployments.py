"""Deployments: which model serves which role, on engines that this portal starts, watches, switches, stops and adopts.

The way of a model: plan (does it fit, beside or in place) → rollout (rollout.py) → its supervisor starts the engine and
keeps it alive (supervisor.py) → the role points at it → the gate (gate.py) lets requests in.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace

from services.engines.desk import SETTLED
from services.engines.engine_log import EngineLog
from services.engines.gate import Gate, Hold, Lease
from services.engines.golden import GoldenPrompt
from services.engines.memory import Estimate
from services.engines.observer import MemoryOf
from services.engines.options import DeploymentSettings, Spec
from services.engines.planning import EstimateOf, Planner
from services.engines.posts import Post, Posts
from services.engines.rollout import VERDICT_S, Rollout, Tools
from services.engines.states import Endpoint, EngineState, EngineStatus, nothing_ordered
from services.engines.supervisor import Equipment
from services.engines.views import ROLES, Mode, RoleView, RolloutPlan, RolloutView, Sample
from services.errors import EngineError, NotFound, PortalError, RolloutInProgress
from services.permissions import CONSOLE, Actor
from services.translation import N_

__all__ = ["Deployments", "Endpoint", "EngineState", "EngineStatus"]

log = logging.getLogger(__name__)

END_OF_START_S = 10.0

OnEnd = Callable[[RolloutView], None]


class Deployments:
    """Thread-safe. Knows no permissions: see services.model_operations."""

    def __init__(
        self,
        equipment: Equipment,
        *,
        estimate: EstimateOf,
        memory_of: MemoryOf = lambda _pids, _device: None,
        golden_prompts: Callable[[str], list[GoldenPrompt]] = lambda _model: [],
    ) -> None:
        settings = equipment.settings
        self._settings = settings
        self._models = equipment.models
        self.rows = equipment.rows
        self._gate = Gate(self.endpoint)
        self._posts = Posts(equipment, self._gate, memory_of)
        self._planner = Planner(equipment, estimate, memory_of)
        self._tools = Tools(
            posts=self._posts,
            gate=self._gate,
            rows=equipment.rows,
            models=equipment.models,
            point=self._point,
            serves=lambda spec: spec in self._roles.values(),
            golden_prompts=golden_prompts,
            drain_timeout_s=settings.drain_timeout_s,
            start_timeout_s=settings.engine_start_timeout_s,
        )
        self._roles: dict[str, Spec] = {
            role: self.rows.spec(deployment_id) for role, deployment_id in self.rows.aliases().items()
        }
        self._rollout: Rollout | None = None
        self._guard = threading.Lock()

    # Looking

    def status(self, role: str) -> EngineStatus:
        """A snapshot from memory: no I/O."""
        spec = self._roles.get(role)
        rollout = self._rollout
        switching = rollout.plan.model_name if rollout and not rollout.over and role in rollout.plan.roles else ""
        if spec is None:
            error = nothing_ordered()
            return EngineStatus(
                role, EngineState.STOPPED, str(error), error, "", "", 0.0, None, None, None, switching_to=switching
            )
        return replace(self._posts.post(spec).desk.status(role), switching_to=switching)

    def endpoint(self, role: str) -> Endpoint:
        """Raises EngineNotReady, EngineStartFailed or ModelFilesError: what status() explains."""
        spec = self._roles.get(role)
        if spec is None:
            raise nothing_ordered()
        return self._posts.post(spec).desk.endpoint()

    def wait_ready(self, role: str, timeout_s: float) -> EngineStatus:
        """The status when the engine is ready, has failed or is stopped, or when the time is up."""
        spec = self._roles.get(role)
        if spec is not None:
            self._posts.post(spec).desk.wait_for_state((EngineState.READY, *SETTLED), timeout_s)
        return self.status(role)

    def wait_rollout(self, timeout_s: float) -> None:
        """Until no rollout is going on, or the time is up."""
        if self._rollout is not None:
            self._rollout.join(timeout_s)

    def role(self, role: str) -> RoleView:
        spec = self._roles.get(role)
        post = self._posts.post(spec) if spec else None
        status = self.status(role)
        samples = post.observer.samples() if post and status.ready else []
        return RoleView(
            role=role,
            status=status,
            deployment=self.rows.view(spec.id) if spec else None,
            shared_with=tuple(other for other in ROLES if other != role and spec and self._roles.get(other) == spec),
            uptime_s=post.observer.uptime_s() if post and status.ready else None,
            queued=self._gate.queued((role,)),
            running=self._gate.running(spec.id) if spec else 0,
            sample=samples[-1] if samples else None,
            last_good=self.rows.last_good(role, not_like=spec.id if spec else None),
        )

    def serving(self) -> dict[str, tuple[str, ...]]:
        """The roles that each model answers for, by model id."""
        found: dict[str, tuple[str, ...]] = {}
        for role, spec in self._roles.items():
            found[spec.model_id] = (*found.get(spec.model_id, ()), role)
        return found

    def estimate(self, model_id: str) -> Estimate | None:
        """With its default settings; None where it cannot be told (the hub is not reachable, the engine elsewhere)."""
        try:
            return self._planner.estimate(model_id, self.default_settings(model_id))
        except PortalError:
            return None

    def require_unused(self, *model_ids: str) -> None:
        """Raises EngineError when an engine runs on the files of one of these models, or may have to again."""
        rollout = self._rollout
        busy = [spec for spec in self._roles.values() if self._posts.post(spec).serves]
        if rollout is not None and not rollout.over:
            busy += rollout.concerned
        files = {self._models.path(spec.model_id) for spec in busy} | {spec.model_id for spec in busy}
        for model_id in model_ids:
            if model_id in files or self._models.path(model_id) in files:
                raise EngineError(
                    N_("The model {id} is in use."), hint=N_("Stop it or switch to another one first."), id=model_id
                )

    def samples(self, role: str) -> list[Sample]:
        """Oldest first; none when nothing runs."""
        spec = self._roles.get(role)
        return self._posts.post(spec).observer.samples() if spec else []

    def rollout(self) -> RolloutView | None:
        """The one that is going on, or the last one that ended since the portal started."""
        return self._rollout.view() if self._rollout else None

    def log_tail(self, role: str, lines: int) -> list[str]:
        """The last lines of the engine's log, oldest first."""
        spec = self._roles.get(role)
        return self._posts.post(spec).home.log.tail(lines) if spec else []

    def deployment_log(self, deployment_id: int) -> EngineLog:
        """Of any deployment; that of an old one may be gone. Raises NotFound."""
        return self._posts.post(self.rows.spec(deployment_id)).home.log

    # Asking

    def enter(self, role: str, *, first: bool = False) -> Lease:
        """The right to ask the role's model: granted at once, or waiting while models are switched or loaded.

        first: before others that wait. Raises what endpoint() raises when there is nothing to wait for.
        """
        self._wake_if_idle(role)
        return self._gate.enter(role, first=first)

    def report_failure(self, deployment_id: int) -> None:
        """A request found the engine dead or hanging: it is asked for a token, and restarted if none comes."""
        if (post := self._posts.known(deployment_id)) is not None:
            post.desk.suspect()

    # Ordering

    def plan(self, role: str, model_id: str, settings: DeploymentSettings) -> RolloutPlan:
        """What switching the role to this model would do. Raises NotFound for an id that the catalogue lacks."""
        running = [post for spec in set(self._roles.values()) if (post := self._posts.post(spec)).serves]
        return self._planner.plan(role, model_id, settings, roles=dict(self._roles), running=running)

    def switch(
        self,
        role: str,
        model_id: str,
        settings: DeploymentSettings,
        *,
        by: Actor = CONSOLE,
        reason: str = "switch",
        anyway: bool = False,
        on_end: OnEnd = lambda _view: None,
    ) -> RolloutView:
        """Order the rollout and return at once. anyway: although it does not fit by the estimate.

        Raises RolloutInProgress (saying whose), and what the plan's refusal says.
        """
        self._posts.require_ours()
        with self._guard:
            self._refuse_if_switching()
            plan = self.plan(role, model_id, settings)
            if plan.refusal is not None and not (anyway and self._planner.may_be_overruled(plan)):
                raise plan.refusal
            rollout = self._new_rollout(plan, by=by, reason=reason, on_end=on_end)
            rollout.begin()
            self._rollout = rollout
            return rollout.view()

    def start(
        self,
        role: str,
        model_id: str | None = None,
        settings: DeploymentSettings | None = None,
        *,
        by: Actor = CONSOLE,
        reason: str = "start",
    ) -> None:
        """Order the model (or what the role points at) and return at once; nothing happens when it is served already.

        Raises NotFound, DoesNotFit, EngineError, and as switch() does when the role has to be switched for it.
        """
        spec = self._roles.get(role)
        same = spec is not None and model_id in (None, spec.model_id) and settings in (None, spec.settings)
        if spec is not None and same:
            self._await_end_of_failed_start(spec)
            with self._guard:
                self._start_again(spec)
        elif model_id is None:
            raise NotFound(N_("No model was ever chosen for {role}."), hint=N_("Choose one."), role=role)
        else:
            chosen = settings or self.default_settings(model_id)
            self.switch(role, model_id, chosen, by=by, reason=reason)

    def _start_again(self, spec: Spec) -> None:
        """Raises RolloutInProgress while a switch may have stopped it on purpose."""
        runs = self._posts.post(spec).runs
        if not runs:
            self._refuse_if_switching()
            self._planner.require_room(spec)
        self._posts.run(spec)
        self.rows.note_serving(spec.id)

    def stop(self, role: str, *, wait: bool = True, drain_s: float = 0.0) -> None:
        """Order that nothing runs; with `wait`, return when no process of the engine lives.

        The other roles of the same deployment stop with it. drain_s: how long answers that are being given may go on.
        """
        self._break_off_first_start(role)
        with self._guard:
            self._refuse_if_switching()
            spec = self._roles.get(role)
            if spec is not None:
                self.rows.note_end(spec.id, "stopped")
        if spec is not None:
            self._posts.stop(spec, wait=wait, drain_s=drain_s)

    def cancel_rollout(self) -> None:
        if self._rollout is not None:
            self._rollout.cancel()

    def default_settings(self, model_id: str) -> DeploymentSettings:
        """For this model on this machine, from the portal's settings and the catalogue."""
        return self._planner.default_settings(model_id)

    # The portal's life

    def adopt(self) -> None:
        """At the start of a portal: go on with engines that live, and clean away what is left of dead ones."""
        wanted = {spec.id: spec for spec in self._roles.values() if self._wanted(spec)}
        if self._posts.adopt(wanted):
            self.rows.note_interrupted(
                EngineError(N_("The portal ended while this model was being started."), hint=N_("Order it again."))
            )

    def resume(self, first_model_id: str) -> None:
        """Run what served when the portal ended, and was not stopped; on a new portal the first model."""
        if not self._roles:
            self._begin_with(first_model_id)
        for spec in set(self._roles.values()):
            if self._wanted(spec):
                self._posts.run(spec)
                self.rows.note_serving(spec.id)

    def close(self, *, stop_engines: bool) -> None:
        """End all threads, a rollout's first. Engines that are not stopped live on and can be adopted."""
        if self._rollout is not None:
            self._rollout.abandon()
        self._posts.close(stop_engines=stop_engines)

    def _wanted(self, spec: Spec) -> bool:
        """Whether it shall run when the portal returns."""
        return self.rows.outcome(spec.id) not in ("stopped", "failed", "cancelled")

    def _begin_with(self, model_id: str) -> None:
        entry = self._models.entry(model_id)
        roles = tuple(role for role in entry.roles if role in ("chat", "code")) or ("chat",)
        settings = self.default_settings(model_id)
        spec = self.rows.create(model_id, entry.name, settings, roles=roles, reason="autostart", by=CONSOLE)
        self._point(roles, spec)
        self.rows.note_serving(spec.id)

    def _point(self, roles: tuple[str, ...], spec: Spec) -> None:
        self.rows.point(roles, spec.id)
        self._roles = self._roles | dict.fromkeys(roles, spec)

    def _break_off_first_start(self, role: str) -> None:
        """Stopping a role whose first model is still loading means that it shall not load."""
        rollout = self._rollout
        if rollout is not None and not rollout.over and rollout.plan.mode is Mode.FIRST and role in rollout.plan.roles:
            rollout.cancel()
            rollout.join()

    def _await_end_of_failed_start(self, spec: Spec) -> None:
        """A first start that has failed is only being put away: no reason to refuse another."""
        rollout = self._rollout
        if rollout is None or rollout.plan.mode is not Mode.FIRST or rollout.candidate != spec:
            return
        if self._posts.post(spec).desk.state is EngineState.FAILED:
            rollout.join(END_OF_START_S)

    def _refuse_if_switching(self) -> None:
        rollout = self._rollout
        if rollout is not None and not rollout.over:
            raise RolloutInProgress(
                N_("{who} is switching {role} to {model} at the moment."),
                hint=N_("Wait until that is done, or cancel it first."),
                who=rollout.by.name,
                role=", ".join(rollout.plan.roles),
                model=rollout.plan.model_name,
            )

    def _new_rollout(self, plan: RolloutPlan, *, by: Actor, reason: str, on_end: OnEnd) -> Rollout:
        candidate = plan.shares or self.rows.create(
            plan.model_id,
            plan.model_name,
            plan.settings,
            roles=plan.roles,
            reason=reason,
            by=by,
            estimate=asdict(plan.estimate) if plan.estimate else None,
        )
        old = self._roles.get(plan.role)
        if old is not None and not self._posts.post(old).serves:
            old = None
        return Rollout(plan, candidate, old, by=by, tools=self._tools, on_end=on_end)

    def _wake_if_idle(self, role: str) -> None:
        """Load an unloaded model again; whoever asks meanwhile waits in line."""
        spec = self._roles.get(role)
        post = self._posts.known(spec.id) if spec else None
        if spec is None or post is None or not post.desk.idle:
            return
        with self._guard:
            roles = tuple(name for name, other in self._roles.items() if other == spec)
            if not post.desk.idle or any(self._gate.held(name) for name in roles):
                return
            hold = self._gate.hold(roles, reason="loading", typical_s=self.rows.typical_start_s(spec.model_id))
            with ExitStack() as undo:
                undo.callback(self._gate.open, hold)
                self._posts.run(spec)
                undo.pop_all()
        threading.Thread(target=self._open_when_loaded, args=(post, hold), name="wake", daemon=True).start()

    def _open_when_loaded(self, post: Post, hold: Hold) -> None:
        """Whatever comes of it: those who wait are let in, or learn why not."""
        try:
            limit_s = self._settings.engine_start_timeout_s + VERDICT_S
            post.desk.wait_for_state((EngineState.READY, *SETTLED), limit_s)
        finally:
            self._gate.open(hold)
