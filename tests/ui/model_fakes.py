"""A stand-in for services.model_operations that behaves: what is ordered happens, step by step when told so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

from services.engines.memory import Estimate, Suggestion
from services.engines.options import DeploymentSettings
from services.engines.states import EngineState, EngineStatus
from services.engines.views import ROLES, DeploymentView, Mode, RoleView, RolloutPlan, RolloutView, Sample, Step
from services.errors import BadInput, DoesNotFit, ModelFilesError, NotFound, PortalError, RolloutInProgress
from services.permissions import Actor, Permission, check
from tests.ui.model_samples import (
    CODER,
    FREE_MIB,
    MIDDLE,
    SMALL,
    TYPICAL_S,
    accuracy,
    catalogue,
    deployment,
    download,
    estimate,
    out_of_memory,
    rollout,
    samples,
    schedule,
    settings,
)


@dataclass
class FakeModelOperations:
    """serving: the deployment of each role; states: of its engine; on_disk: model ids. refuse: by method name."""

    entries: list[SimpleNamespace] = field(default_factory=catalogue)
    on_disk: set[str] = field(default_factory=lambda: {CODER, SMALL})
    serving: dict[str, DeploymentView] = field(default_factory=dict)
    states: dict[str, EngineState] = field(default_factory=dict)
    errors: dict[str, PortalError] = field(default_factory=dict)
    status: dict[str, dict] = field(default_factory=dict)  # role → changes of its EngineStatus
    running: int = 0
    device: str = "cpu"
    needed_mib: dict[str, float] = field(default_factory=dict)
    last_good: dict[str, DeploymentView] = field(default_factory=dict)
    now: RolloutView | None = None
    past: list[DeploymentView] = field(default_factory=list)
    fetching: list[SimpleNamespace] = field(default_factory=list)
    readings: list[Sample] = field(default_factory=list)
    starts: list[SimpleNamespace] = field(default_factory=list)
    planned: list[SimpleNamespace] = field(default_factory=list)
    lines: list[str] = field(default_factory=lambda: ["INFO loading", "ERROR out of memory", "INFO bye"])
    refuse: dict[str, PortalError] = field(default_factory=dict)
    bundle_files: list[str] = field(default_factory=lambda: ["in.zhiku.tar"])
    ordered: list[tuple] = field(default_factory=list)  # (method, its arguments)

    # Looking

    def roles(self, actor: Actor) -> list[RoleView]:
        check(actor, Permission.RUN_MODELS)
        return [self._role(role) for role in ROLES]

    def catalogue(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return [self._row(one, kind, first=kind is one.variants[0]) for one in self.entries for kind in one.variants]

    def settings_for(self, model_id: str, actor: Actor) -> DeploymentSettings:
        row = self._known(model_id, actor)
        kind = next(kind for kind in row.entry.variants if kind.id == row.variant_id)
        return settings(engine=kind.engines[0])

    def plan(self, role: str, model_id: str, chosen: DeploymentSettings, actor: Actor) -> RolloutPlan:
        row = self._known(model_id, actor)
        before = self.serving.get(role)
        needed = self._needed(row, chosen)
        one = None if row.entry.external else self._estimate(needed, chosen)
        mode = Mode.FIRST if before is None else Mode.BESIDE if one is None or needed < 4096 else Mode.IN_PLACE
        along = before.roles if before and mode is Mode.IN_PLACE else (role,)
        refusal = None if one is None or one.fits else DoesNotFit("It does not fit.", hint="Choose less.")
        return RolloutPlan(
            role=role,
            roles=along,
            model_id=model_id,
            model_name=row.entry.name,
            settings=chosen,
            mode=mode,
            estimate=one,
            replaces=before.model_name if before else "",
            typical_start_s=TYPICAL_S,
            unserved_s=TYPICAL_S + 2 if mode is Mode.IN_PLACE else 0.0,
            refusal=refusal,
        )

    def rollout(self, actor: Actor) -> RolloutView | None:
        check(actor, Permission.RUN_MODELS)
        return self.now

    def history(self, actor: Actor, limit: int = 50) -> list[DeploymentView]:
        check(actor, Permission.RUN_MODELS)
        return self.past[:limit]

    def log(self, deployment_id: int, actor: Actor, *, query: str = "", limit: int = 2000) -> list[str]:
        check(actor, Permission.RUN_MODELS)
        return [line for line in self.lines if query.casefold() in line.casefold()][-limit:]

    def samples(self, role: str, actor: Actor) -> list[Sample]:
        check(actor, Permission.RUN_MODELS)
        return self.readings

    def downloads(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return self.fetching

    def accuracy(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return self.starts

    def schedules(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return self.planned

    # Serving

    def switch(
        self, role: str, model_id: str, chosen: DeploymentSettings, actor: Actor, *, anyway: bool = False
    ) -> None:
        plan = self.plan(role, model_id, chosen, actor)
        if self.now and not self.now.step.over:
            raise RolloutInProgress(
                "{who} is switching {role} at the moment.", who=self.now.started_by, role=self.now.role
            )
        self._note("switch", role, model_id, chosen, anyway)
        self.now = rollout(
            Step.VERIFYING,
            role=role,
            roles=plan.roles,
            mode=plan.mode,
            model_id=model_id,
            model_name=plan.model_name,
            started_by=actor.name,
            elapsed_s=0.0,
            queued=0,
        )

    def start(self, role: str, actor: Actor) -> None:
        self._note("start", role)
        self.states[role] = EngineState.STARTING

    def stop(self, role: str, actor: Actor) -> None:
        self._note("stop", role)
        self.states[role] = EngineState.STOPPED

    def roll_back(self, role: str, actor: Actor, deployment_id: int | None = None) -> None:
        self._note("roll_back", role, deployment_id)

    def cancel_rollout(self, actor: Actor) -> None:
        self._note("cancel_rollout")
        self.now = replace(self.now, step=Step.CANCELLED)

    # Files

    def fetch(self, model_id: str, actor: Actor) -> None:
        name = self._known(model_id, actor).entry.name
        self._note("fetch", model_id)
        self.fetching.append(download(model_id, name=name, done=0, started_by=actor.name))

    def pause(self, model_id: str, actor: Actor) -> None:
        self._note("pause", model_id)
        self._download(model_id).state = "paused"

    def resume(self, model_id: str, actor: Actor) -> None:
        self._note("resume", model_id)
        self._download(model_id).state = "running"

    def cancel_fetch(self, model_id: str, actor: Actor) -> None:
        self._note("cancel_fetch", model_id)
        self.fetching.remove(self._download(model_id))

    def verify(self, model_id: str, actor: Actor) -> None:
        self._note("verify", model_id)

    def remove(self, model_id: str, actor: Actor) -> None:
        self._note("remove", model_id)
        self.on_disk.discard(model_id)

    def add_from_hub(self, kind: str, repo: str, revision: str, roles: list[str], actor: Actor) -> str:
        self._note("add_from_hub", kind, repo, revision, tuple(roles))
        return repo.lower().replace("/", "-")

    def add_from_folder(self, path: str, name: str, roles: list[str], actor: Actor) -> str:
        self._note("add_from_folder", path, name, tuple(roles))
        return name.lower()

    def add_external(self, name: str, url: str, actor: Actor, *, model: str, api_key: str, roles: list[str]) -> str:
        self._note("add_external", name, url, model, api_key, tuple(roles))
        return name.lower()

    def forget(self, entry_id: str, actor: Actor) -> None:
        self._note("forget", entry_id)
        self.entries = [one for one in self.entries if one.id != entry_id]

    def export_bundle(self, model_id: str, actor: Actor, folder: str = "") -> Path:
        self._note("export_bundle", model_id)
        return Path("/bundles") / f"{model_id}.zhiku.tar"

    def bundles(self, actor: Actor) -> list[str]:
        return self.bundle_files

    def import_bundle(self, path: str, actor: Actor) -> str:
        self._note("import_bundle", path)
        return MIDDLE

    def add_schedule(
        self, role: str, model_id: str, chosen: DeploymentSettings, actor: Actor, *, at: str, days: list[int]
    ) -> None:
        if not days:
            raise BadInput("Choose at least one day of the week.")
        self._note("add_schedule", role, model_id, at, tuple(days))
        self.planned.append(schedule(len(self.planned) + 1, role=role, model_id=model_id, at=at, days=tuple(days)))

    def remove_schedule(self, schedule_id: int, actor: Actor) -> None:
        self._note("remove_schedule", schedule_id)
        self.planned = [one for one in self.planned if one.id != schedule_id]

    def _note(self, method: str, *arguments: object) -> None:
        if method in self.refuse:
            raise self.refuse[method]
        self.ordered.append((method, *arguments))

    def _role(self, role: str) -> RoleView:
        own = self.serving.get(role)
        state = self.states.get(role, EngineState.READY if own else EngineState.STOPPED)
        model = {"model_id": own.model_id, "model_name": own.model_name} if own else {"model_id": "", "model_name": ""}
        values = {
            **{"role": role, "state": state, "reason": "", "error": self.errors.get(role)},
            **{"elapsed_s": 45.0, "typical_start_s": TYPICAL_S, "pid": None, "base_url": None},
        }
        ready = state is EngineState.READY
        return RoleView(
            role=role,
            status=EngineStatus(**values | model | self.status.get(role, {})),
            deployment=own,
            shared_with=tuple(r for r, other in self.serving.items() if r != role and own and other.id == own.id),
            uptime_s=11_520.0 if ready else None,
            queued=0,
            running=self.running,
            sample=self.readings[-1] if ready and self.readings else None,
            last_good=self.last_good.get(role),
        )

    def _row(self, one: SimpleNamespace, kind: SimpleNamespace, *, first: bool) -> SimpleNamespace:
        model_id = one.id if first else f"{one.id}:{kind.id}"
        row = SimpleNamespace(model_id=model_id, entry=one, variant_id=kind.id, verified_at=None)
        row.ready = bool(one.external) or model_id in self.on_disk
        row.serving = tuple(role for role, own in self.serving.items() if own.model_id == model_id)
        row.download = next((view for view in self.fetching if view.model_id == model_id), None)
        row.estimate = None if one.external else estimate(self._needed(row, settings()), device=self.device)
        return row

    def _needed(self, row: SimpleNamespace, chosen: DeploymentSettings) -> float:
        """Weights as they are stored, and a KV cache by context and requests."""
        kind = next(kind for kind in row.entry.variants if kind.id == row.variant_id)
        weights_mib = kind.size_bytes / (1 << 20) * 1.06
        return self.needed_mib.get(row.model_id, weights_mib + chosen.context_tokens * chosen.max_num_seqs / 26)

    def _estimate(self, needed: float, chosen: DeploymentSettings) -> Estimate:
        if needed <= FREE_MIB:
            return estimate(needed, device=self.device)
        less = chosen.model_copy(update={"context_tokens": 2048})
        message = "Shorter context: {n} tokens"
        return estimate(needed, Suggestion(message, {"n": "2,048"}, less, FREE_MIB * 0.9), device=self.device)

    def _known(self, model_id: str, actor: Actor) -> SimpleNamespace:
        for row in self.catalogue(actor):
            if row.model_id == model_id:
                return row
        raise NotFound("There is no model {id} in the catalogue.", id=model_id)

    def _download(self, model_id: str) -> SimpleNamespace:
        for view in self.fetching:
            if view.model_id == model_id:
                return view
        raise ModelFilesError("Nothing is being fetched.")


def busy(**changes) -> FakeModelOperations:
    """A portal in full use: two roles on one engine, a download, a history."""
    serving = deployment(6)
    before = deployment(5, model_id=SMALL, model_name="SmolLM2 135M Instruct", outcome="retired", roles=("chat",))
    failed = deployment(
        4,
        model_id=MIDDLE,
        model_name="Qwen2.5 7B Instruct",
        outcome="rolled_back",
        error=out_of_memory(),
        ready_at=None,
        load_s=None,
        measured_mib=None,
        roles=("chat",),
    )
    values = {
        "serving": {"chat": serving, "code": serving},
        "last_good": {"chat": before},
        "past": [serving, before, failed],
        "readings": samples(),
        "starts": [accuracy(CODER, 3100, 2950), accuracy(SMALL, 1400, 1230), accuracy(CODER, 3900, 3200)],
        "planned": [schedule(1)],
    }
    return FakeModelOperations(**values | changes)
