"""A rollout: one switch of roles to another deployment, with the way back.

                        ┌ BESIDE ──────────────────────────► STARTING ─► TESTING ─► alias moves ─► RETIRING ─► DONE
VERIFYING ──────────────┤                                       ▲ │          │
                        └ IN_PLACE: hold, DRAINING ─► STOPPING ─┘ └──────────┴─► ROLLING_BACK ─► FAILED, CANCELLED

Held requests wait at the gate until the rollout is over, whatever comes of it: they are answered by the new model, or
by the old one again, or learn why there is none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from db.tables import utc_now
from services.engines import golden
from services.engines.background import BackgroundCall
from services.engines.deployment_rows import DeploymentRows
from services.engines.desk import SETTLED
from services.engines.gate import Gate, Hold
from services.engines.golden import GoldenPrompt
from services.engines.options import Spec
from services.engines.posts import Posts
from services.engines.probe import EngineProbe
from services.engines.states import EngineState
from services.engines.supervisor import ReadyModels
from services.engines.views import Mode, RolloutPlan, RolloutView, Step
from services.errors import AuditUnavailable, EngineError, PortalError
from services.permissions import Actor
from services.translation import N_

POLL_S = 0.2
GOLDEN_TIMEOUT_S = 120.0
VERDICT_S = 30.0  # the supervisor has the same limit, and says more about why

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What rollouts work with. point: lets roles be answered by a deployment from now on, for good."""

    posts: Posts
    gate: Gate
    rows: DeploymentRows
    models: ReadyModels
    point: Callable[[tuple[str, ...], Spec], None]
    serves: Callable[[Spec], bool]  # whether any role is answered by the deployment
    golden_prompts: Callable[[str], list[GoldenPrompt]]
    drain_timeout_s: float
    start_timeout_s: float


class _Cancelled(Exception):
    """Somebody cancelled the rollout."""


class _Abandoned(Exception):
    """The portal closes: nothing is rolled back, the next one begins with what the roles point at."""


class Rollout:
    """Runs in a thread of its own; view() and cancel() are for everybody."""

    def __init__(
        self,
        plan: RolloutPlan,
        candidate: Spec,
        old: Spec | None,
        *,
        by: Actor,
        tools: Tools,
        on_end: Callable[[RolloutView], None] = lambda _view: None,
    ) -> None:
        """old: what serves the role and runs now."""
        self.plan = plan
        self.candidate = candidate
        self.by = by
        self._old = old
        self._tools = tools
        self._on_end = on_end
        self._step = Step.VERIFYING
        self._error: PortalError | None = None
        self._started_at: datetime = utc_now()
        self._began = time.monotonic()
        self._ended: float | None = None
        self._cancel = threading.Event()
        self._abandon = threading.Event()
        self._old_stopped = False
        self._hold: Hold | None = None
        self._moved = False
        self._thread = threading.Thread(target=self._run, name="rollout", daemon=True)

    def begin(self) -> None:
        """Without an old one the role points at the candidate at once, so that everybody sees it load."""
        if self.plan.mode is Mode.FIRST:
            self._tools.point(self.plan.roles, self.candidate)
            self._tools.posts.run(self.candidate)
        self._thread.start()

    def cancel(self) -> None:
        """Takes effect until the alias has moved; then the rollout ends as it would."""
        self._cancel.set()

    def abandon(self) -> None:
        """Leave everything as it is, and end."""
        self._abandon.set()
        self._thread.join()

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    @property
    def concerned(self) -> list[Spec]:
        """Deployments that run, or may have to."""
        return [spec for spec in (self.candidate, self._old) if spec is not None]

    @property
    def over(self) -> bool:
        return self._step.over

    def view(self) -> RolloutView:
        plan, gate = self.plan, self._tools.gate
        running = gate.running(self._old.id) if self._old else 0
        return RolloutView(
            role=plan.role,
            roles=plan.roles,
            model_id=plan.model_id,
            model_name=plan.model_name,
            deployment_id=self.candidate.id,
            mode=plan.mode,
            step=self._step,
            started_by=self.by.name,
            started_at=self._started_at,
            elapsed_s=(self._ended or time.monotonic()) - self._began,
            typical_start_s=plan.typical_start_s,
            queued=gate.queued(plan.roles),
            running=running,
            error=self._error,
        )

    def _run(self) -> None:
        end: tuple[Step, PortalError | None] | None = None
        try:
            end = self._attempt()
        finally:
            if end is None:  # a bug is on its way to the log; it must not leave everybody without a model
                end = Step.FAILED, _broken_off()
                with ExitStack() as last:
                    last.callback(self._finish, *end)
                    self._roll_back("failed", end[1])
            else:
                self._finish(*end)

    def _attempt(self) -> tuple[Step, PortalError | None]:
        """How it ended; what failed is rolled back."""
        try:
            self._switch()
        except _Abandoned:
            return Step.CANCELLED, None
        except _Cancelled:
            self._roll_back("cancelled", None)
            return Step.CANCELLED, None
        except PortalError as error:
            self._roll_back("failed" if self.plan.mode is Mode.FIRST else "rolled_back", error)
            return Step.FAILED, error
        return Step.DONE, None

    def _switch(self) -> None:
        tools, mode = self._tools, self.plan.mode
        if mode is not Mode.SHARED:
            self._verify()
            if mode is Mode.IN_PLACE:
                self._make_room()
            self._enter(Step.STARTING)
            tools.posts.run(self.candidate)
            self._await_candidate()
            self._enter(Step.TESTING)
            self._test()
        else:
            self._await_candidate()
        tools.point(self.plan.roles, self.candidate)
        tools.rows.note_serving(self.candidate.id)
        self._moved = True
        tools.gate.open(self._hold)
        if self._old is not None and not self._old_stopped and not tools.serves(self._old):
            self._retire(self._old)

    def _verify(self) -> None:
        """Before anything is stopped: arguments, and in place the files too (else they are read while they load)."""
        self._tools.posts.check(self.candidate)
        if self.plan.mode is Mode.IN_PLACE:
            self._tools.models.verify(self.candidate.model_id)

    def _make_room(self) -> None:
        """Let new requests wait, the running ones finish, and stop the old engine."""
        old, tools = self._old, self._tools
        if old is None:
            raise RuntimeError("a rollout in place has something to replace")
        self._enter(Step.DRAINING)
        self._hold = tools.gate.hold(self.plan.roles, reason="switching", typical_s=self.plan.typical_start_s)
        self._drain(old)
        self._enter(Step.STOPPING)
        self._old_stopped = True
        tools.posts.stop(old)

    def _drain(self, old: Spec) -> None:
        """Until nothing runs on the old one. What takes longer than the limit begins anew with the next model."""
        deadline = time.monotonic() + self._tools.drain_timeout_s
        while not self._tools.gate.wait_idle(old.id, POLL_S):
            self._raise_if_cancelled()
            if time.monotonic() > deadline:
                log.info("%d answers of deployment %d begin anew", self._tools.gate.cut(old.id), old.id)
                return

    def _await_candidate(self) -> None:
        """Raises what the candidate failed with. A server elsewhere may not answer for ever: not longer than others."""
        desk = self._tools.posts.post(self.candidate).desk
        deadline = time.monotonic() + self._tools.start_timeout_s + VERDICT_S
        while not (status := desk.wait_for_state((EngineState.READY, *SETTLED), POLL_S)).ready:
            self._raise_if_cancelled()
            if status.state in SETTLED or time.monotonic() > deadline:
                raise status.error or _broken_off()

    def _test(self) -> None:
        """Golden prompts. Raises GoldenPromptFailed, or EngineError when it does not even answer."""
        probe = EngineProbe(self._tools.posts.post(self.candidate).desk.endpoint())
        prompts = self._tools.golden_prompts(self.candidate.model_id)
        answered = partial(probe.generate, timeout_s=GOLDEN_TIMEOUT_S)
        done = threading.Event()
        call = BackgroundCall(partial(golden.check, answered, prompts), done.set)
        while not done.wait(POLL_S):
            self._raise_if_cancelled()
        if call.failure is not None:
            raise call.failure
        if call.result is False:
            raise _broken_off()

    def _retire(self, old: Spec) -> None:
        self._enter(Step.RETIRING)
        self._drain(old)
        self._tools.posts.stop(old)
        self._tools.rows.note_end(old.id, "retired")

    def _roll_back(self, outcome: str, error: PortalError | None) -> None:
        """Away with the candidate, and the old one back, if it had to go."""
        if self._moved:
            return
        tools = self._tools
        self._enter(Step.ROLLING_BACK)
        shared, first = self.plan.mode is Mode.SHARED, self.plan.mode is Mode.FIRST
        if not shared:
            tools.posts.stop(self.candidate, failure=error if first else None)
        if self._old_stopped and self._old is not None:
            tools.posts.run(self._old)
        if not shared:
            tools.rows.note_end(self.candidate.id, outcome, error)
        if self._old_stopped and self._old is not None:
            desk, settled = tools.posts.post(self._old).desk, (EngineState.READY, *SETTLED)
            deadline = time.monotonic() + tools.start_timeout_s
            while time.monotonic() < deadline and not self._abandon.is_set():
                if desk.wait_for_state(settled, POLL_S).state in settled:
                    return

    def _raise_if_cancelled(self) -> None:
        if self._abandon.is_set():
            raise _Abandoned
        if self._cancel.is_set() and not self._moved:
            raise _Cancelled

    def _enter(self, step: Step) -> None:
        self._step = step
        log.info("rollout of %s for %s: %s", self.plan.model_id, ", ".join(self.plan.roles), step)

    def _finish(self, step: Step, error: PortalError | None = None) -> None:
        self._ended, self._error = time.monotonic(), error
        self._tools.gate.open(self._hold)
        if step is Step.DONE and self._old_stopped and self._old is not None:
            self._tools.rows.note_end(self._old.id, "retired")
        self._enter(step)
        try:
            self._on_end(self.view())
        except AuditUnavailable as unavailable:  # it is written with the next event that can be
            log.error("the end of the rollout is not in the audit yet: %s", unavailable)


def _broken_off() -> EngineError:
    return EngineError(
        N_("The switch was broken off."), hint=N_("The portal's log says why. The model that serves now is unchanged.")
    )
